import type { EpochMs } from "../../durable/model/time.ts";
import { clock } from "./leased.ts";

/** Longest read of a body that is not kept, bytes. */
const READ_BYTES = 65_536;

/** Whom a body on its way to a backend waits for, and since when. */
interface Turn {
  readonly of: "client" | "backend";
  readonly sinceMs: EpochMs;
}

/**
 * A request's body of known length, which streams to a backend as it comes. It tells who is slow, the client that sends it or
 * the backend that takes it, and who broke it off. What is kept can be sent again.
 *
 * One of unknown length does not go through here: if it broke off it would look whole to the backend, because the runtime ends
 * a chunked request in good order when a stream of ours fails.
 */
export class Upload {
  /** When it was first asked for. */
  readonly #beganMs = clock();
  readonly #lengthBytes: number;
  /** What has come and can be sent again; null: nothing is kept. */
  readonly #kept: Uint8Array[] | null;
  /** The next piece; null: there is none. */
  readonly #read: () => Promise<Uint8Array | null>;
  /** The read that is under way: whoever wants the next piece waits for the same one. */
  #reading: Promise<void> | null = null;
  #copies = 0;
  /** Number of the first copy that is still wanted. Older ones stop. */
  #oldest = 0;
  #wholeMs: EpochMs | null = null;
  #isBroken = false;
  #onWhole: () => void = doNothing;

  /** `lengthBytes` as `Content-Length` has it. */
  constructor(source: ReadableStream<Uint8Array>, lengthBytes: number, isKept: boolean) {
    this.#lengthBytes = lengthBytes;
    this.#kept = isKept ? [] : null;
    this.#read = isKept ? readerOf(source) : readerIntoMemory(source, Math.min(lengthBytes, READ_BYTES));
  }

  /** How long the client took to send it, so far, milliseconds. */
  tookMs(nowMs: EpochMs): number {
    return (this.#wholeMs ?? nowMs) - this.#beganMs;
  }

  /** Whether it can be sent again. */
  get isReplayable(): boolean {
    return this.#kept !== null && !this.#isBroken;
  }

  /** Whether the client broke it off. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Does something when the client has sent all of it. Once; never when it breaks off. */
  whenWhole(act: () => void): void {
    if (this.#wholeMs === null) this.#onWhole = act;
    else act();
  }

  /** The body from its beginning, for one attempt. Copies before, if there are any, get no more, unless it goes `beside` them. */
  open(beside: boolean): Copy {
    const { readable, writable } = new FixedLengthStream(this.#lengthBytes);
    this.#copies++;
    if (!beside) this.#oldest = this.#copies;
    const copy = new Copy(this, readable);
    // What breaks on the way to the backend is the attempt's failure, which the attempt sees itself.
    this.#pump(writable, copy, this.#copies).catch(doNothing);
    return copy;
  }

  async #pump(writable: WritableStream<Uint8Array>, copy: Copy, number: number): Promise<void> {
    const writer = writable.getWriter();
    try {
      for (let index = 0; number >= this.#oldest; index++) {
        const piece = this.#kept?.[index] ?? (await this.#next(copy, index));
        copy.give();
        if (piece === null) {
          copy.finish();
          return await writer.close();
        }
        await writer.write(piece);
      }
      throw new Error("this body is sent elsewhere");
    } catch (error) {
      await writer.abort(error);
      throw error;
    }
  }

  async #next(copy: Copy, index: number): Promise<Uint8Array | null> {
    copy.wait();
    const kept = this.#kept;
    if (kept === null) return this.#take();
    while (index >= kept.length && this.#wholeMs === null) {
      this.#reading ??= this.#keep(kept);
      await this.#reading;
    }
    return kept[index] ?? null;
  }

  async #keep(kept: Uint8Array[]): Promise<void> {
    try {
      const piece = await this.#take();
      if (piece !== null) kept.push(piece);
    } finally {
      this.#reading = null;
    }
  }

  async #take(): Promise<Uint8Array | null> {
    try {
      const piece = await this.#read();
      if (piece === null) {
        this.#wholeMs = clock();
        this.#onWhole();
      }
      return piece;
    } catch (error) {
      this.#isBroken = true;
      throw error;
    }
  }
}

/** A body on its way to one backend. */
export class Copy {
  readonly stream: ReadableStream;
  readonly #upload: Upload;
  #turn: Turn = { of: "backend", sinceMs: clock() };
  #isSent = false;

  constructor(upload: Upload, stream: ReadableStream) {
    this.#upload = upload;
    this.stream = stream;
  }

  /** Who keeps it waiting, and since when. When all is sent the backend does, which has to answer. */
  get turn(): Turn {
    return this.#turn;
  }

  /** Whether the backend has all of it. */
  get isSent(): boolean {
    return this.#isSent;
  }

  /** Whether the client broke it off. */
  get isBroken(): boolean {
    return this.#upload.isBroken;
  }

  /** It waits for the client. */
  wait(): void {
    this.#turn = { of: "client", sinceMs: clock() };
  }

  /** It waits for the backend. */
  give(): void {
    this.#turn = { of: "backend", sinceMs: clock() };
  }

  /** The backend has all of it. */
  finish(): void {
    this.#isSent = true;
  }
}

function readerOf(source: ReadableStream<Uint8Array>): () => Promise<Uint8Array | null> {
  const reader = source.getReader();
  return async () => (await reader.read()).value ?? null;
}

/** Reads into memory of our own, used again and again: a piece is good until the next one is asked for. */
function readerIntoMemory(source: ReadableStream, bytes: number): () => Promise<Uint8Array | null> {
  const reader = source.getReader({ mode: "byob" });
  let memory = new ArrayBuffer(bytes);
  return async () => {
    const { value, done } = await reader.read(new Uint8Array(memory));
    if (value !== undefined) memory = value.buffer;
    return done ? null : value;
  };
}

function doNothing(): void {
  // Replaced where it matters.
}
