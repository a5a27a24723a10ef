/**
 * A request's body that can be sent again: it streams to a backend as it comes, and what has come is kept. Only for bodies
 * whose length is known and short. One of unknown length that breaks off would look whole to the backend, because the
 * runtime ends a chunked request in good order when a stream of ours fails.
 */
export class ReplayBody {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #lengthBytes: number;
  readonly #kept: Uint8Array[] = [];
  #isComplete = false;
  /** The read that is under way: whoever wants the next chunk waits for the same one. */
  #reading: Promise<void> | null = null;
  #copies = 0;
  /** Number of the first copy that is still wanted. Older ones stop. */
  #oldest = 0;

  /** `lengthBytes` as `Content-Length` has it. */
  constructor(source: ReadableStream<Uint8Array>, lengthBytes: number) {
    this.#reader = source.getReader();
    this.#lengthBytes = lengthBytes;
  }

  /** The body from its beginning, for one attempt. Copies before, if there are any, get no more, unless it goes `beside` them. */
  open(beside: boolean): ReadableStream {
    const { readable, writable } = new FixedLengthStream(this.#lengthBytes);
    this.#copies++;
    if (!beside) this.#oldest = this.#copies;
    // What breaks on the way to the backend is the attempt's failure, which the attempt sees itself.
    this.#pump(writable, this.#copies).catch(() => {});
    return readable;
  }

  async #pump(writable: WritableStream<Uint8Array>, copy: number): Promise<void> {
    const writer = writable.getWriter();
    try {
      for (let index = 0; copy >= this.#oldest; index++) {
        while (index >= this.#kept.length && !this.#isComplete) {
          this.#reading ??= this.#read();
          await this.#reading;
        }
        const chunk = this.#kept[index];
        if (chunk === undefined) return await writer.close();
        await writer.write(chunk);
      }
      throw new Error("this body is sent elsewhere");
    } catch (error) {
      await writer.abort(error);
      throw error;
    }
  }

  async #read(): Promise<void> {
    try {
      const { value, done } = await this.#reader.read();
      if (done) this.#isComplete = true;
      else this.#kept.push(value);
    } finally {
      this.#reading = null;
    }
  }
}
