import { isProblem } from "./answer-problem.ts";

/** An attempt in a race. */
export interface Runner {
  /** Another one was quicker. Whatever it comes to now, nobody wants it. */
  outrun(): void;
}

/** A backend's answer that is worth a retry, and better than none. */
export interface Held {
  use(): Response;
  drop(): void;
}

/** One attempt's part in a race. */
export class Lane {
  readonly #race: Race;
  readonly #controller = new AbortController();
  #runner: Runner | null = null;
  /** What its attempt comes to, in the end; null before it began. */
  answer: Promise<Response> | null = null;
  #isOpen = true;
  #isOutrun = false;

  constructor(race: Race) {
    this.#race = race;
  }

  /** Aborted when another attempt was quicker, or its own has failed. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether its attempt may still win. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  get isOutrun(): boolean {
    return this.#isOutrun;
  }

  /** This is its attempt. */
  enter(runner: Runner): void {
    this.#runner = runner;
  }

  /** Its attempt has brought the answer: all others end. */
  win(): void {
    this.#isOpen = false;
    this.#race.end();
  }

  /**
   * Its attempt has failed: what another one comes to that is still under way; null when none is. `isAnswered`: by an answer,
   * which may be needed yet.
   */
  fail(isAnswered: boolean): Promise<Response> | null {
    this.#isOpen = false;
    if (!isAnswered) this.#controller.abort();
    const other = this.#race.other();
    if (other === null) this.#race.end();
    return other;
  }

  /** Its attempt has failed by this answer, which is the client's if all others come to none. */
  hold(held: Held): void {
    this.#race.hold(held);
  }

  /** Ends its attempt, if it is still under way. */
  lose(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#isOutrun = true;
    this.#runner?.outrun();
    this.#controller.abort();
  }
}

/**
 * Attempts of one request that are under way at the same time. The first to bring an answer wins, and the others are aborted;
 * one that fails leaves the matter to the others.
 */
export class Race {
  readonly #lanes: Lane[] = [];
  readonly #answer = Promise.withResolvers<Response>();
  #held: Held | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** What it comes to. */
  get answer(): Promise<Response> {
    return this.#answer.promise;
  }

  /** Lets an attempt begin. */
  start(begin: (lane: Lane) => Promise<Response>): void {
    const lane = new Lane(this);
    this.#lanes.push(lane);
    lane.answer = begin(lane);
    // One that lost, or left it to another, comes second here.
    lane.answer.then((answer) => this.#answer.resolve(this.#better(answer)), this.#answer.reject);
  }

  /** This one instead of a problem of ours. An earlier one is not needed any more. */
  hold(held: Held): void {
    this.#held?.drop();
    this.#held = held;
  }

  /** Does something after so long, unless the race is over then, milliseconds. */
  later(afterMs: number, act: () => void): void {
    this.#timer = setTimeout(act, afterMs);
  }

  /** What an attempt comes to that is still under way; null when none is. */
  other(): Promise<Response> | null {
    return this.#lanes.find((lane) => lane.isOpen)?.answer ?? null;
  }

  #better(answer: Response): Response {
    const held = this.#held;
    this.#held = null;
    if (held === null) return answer;
    if (isProblem(answer)) return held.use();
    held.drop();
    return answer;
  }

  /** Nobody else begins, and whoever is under way has lost. */
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const lane of this.#lanes) lane.lose();
  }
}
