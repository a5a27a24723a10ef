/**
 * A request's body that can be sent again. It streams to the backend as it comes, and what has come is kept while it is no
 * more than a limit; of a longer one nothing is kept any more, and it is sent once.
 */
export class ReplayBody {
  readonly #source: ReadableStream<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #length: number | null;
  readonly #limitBytes: number;
  readonly #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #isComplete = false;
  /** The read that is under way: whoever wants the next chunk waits for the same one. */
  #reading: Promise<void> | null = null;
  /** Grows with every copy: an older one stops when there is a newer. */
  #copies = 0;

  /** `length` as `Content-Length` has it; null: not known. */
  constructor(source: ReadableStream<Uint8Array>, length: number | null, limitBytes: number) {
    this.#source = source;
    this.#reader = source.getReader();
    this.#length = length;
    this.#limitBytes = limitBytes;
  }

  /** Whether another copy would be whole. */
  get isReplayable(): boolean {
    return this.#keptBytes <= this.#limitBytes;
  }

  /** The body from its beginning, for one attempt. The copy before, if there is one, gets no more. */
  open(): ReadableStream {
    const { readable, writable } =
      this.#length === null ? new IdentityTransformStream() : new FixedLengthStream(this.#length);
    this.#copies++;
    // What breaks on the way to the backend is the attempt's failure, which the attempt sees itself.
    this.#pump(writable, this.#copies).catch(() => {});
    return readable;
  }

  async #pump(writable: WritableStream<Uint8Array>, copy: number): Promise<void> {
    const writer = writable.getWriter();
    try {
      for (let index = 0; copy === this.#copies; index++) {
        while (index >= this.#kept.length && !this.#isComplete) {
          this.#reading ??= this.#read();
          await this.#reading;
          if (copy !== this.#copies) return;
        }
        const chunk = this.#kept[index];
        if (chunk === undefined) return await writer.close();
        await writer.write(chunk);
        if (!this.isReplayable && index + 1 === this.#kept.length)
          return await this.#passRest(writer, writable);
      }
    } catch (error) {
      await writer.abort(error);
      throw error;
    }
  }

  async #read(): Promise<void> {
    try {
      const { value, done } = await this.#reader.read();
      if (done) this.#isComplete = true;
      else {
        this.#kept.push(value);
        this.#keptBytes += value.byteLength;
      }
    } finally {
      this.#reading = null;
    }
  }

  /** Too long to be kept: the rest goes straight through, and what was kept is let go. */
  async #passRest(
    writer: WritableStreamDefaultWriter<Uint8Array>,
    writable: WritableStream<Uint8Array>,
  ): Promise<void> {
    this.#kept.length = 0;
    writer.releaseLock();
    this.#reader.releaseLock();
    await this.#source.pipeTo(writable);
  }
}
