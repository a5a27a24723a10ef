import type { BegunProbe, ProbeResult } from "../model/health.ts";
import type { EpochMs } from "../model/time.ts";
import { now } from "./clock.ts";

/** Probes begun by one alarm. The next alarm goes on at once, with what it may ask for of its own. */
const PROBES_PER_RUN = 40;

/** What a prober works on. */
export interface ProbeWork {
  /** The probe to make next, which counts as begun; null: none can begin now. */
  begin(): BegunProbe | null;
  /** Makes it. Rejects never. */
  make(task: BegunProbe): Promise<ProbeResult>;
  /** Takes over what came of it. Called once for every probe that was begun. */
  finish(task: BegunProbe, result: ProbeResult): void;
  /** When to ask again if no probe ends before; null: then only. */
  nextMs(): EpochMs | null;
}

/** Makes probes while any is due, as many at once as may run: when one ends the next begins, and a slow one holds up none. */
export class Prober {
  readonly #work: ProbeWork;
  /** Those of an earlier run may still be among them. */
  #inFlight = 0;
  #wake: (() => void) | null = null;
  #isRunning = false;

  constructor(work: ProbeWork) {
    this.#work = work;
  }

  /** Whether an alarm is at it. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Works until nothing is due and nothing runs, or until it has begun as many as it may. */
  async run(): Promise<void> {
    this.#isRunning = true;
    try {
      for (let begun = 0; begun < PROBES_PER_RUN; ) {
        const task = this.#work.begin();
        if (task !== null) {
          begun += 1;
          void this.#probe(task);
        } else if (this.#inFlight > 0) {
          await this.#news();
        } else return;
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** Something changed: there may be more to do, or sooner. */
  wake(): void {
    this.#wake?.();
  }

  async #probe(task: BegunProbe): Promise<void> {
    this.#inFlight += 1;
    try {
      this.#work.finish(task, await this.#work.make(task));
    } catch (error) {
      // Storage that failed: this result is lost, and the next one counts.
      console.error(error);
    }
    this.#inFlight -= 1;
    this.wake();
  }

  async #news(): Promise<void> {
    const nextMs = this.#work.nextMs();
    await new Promise<void>((resolve) => {
      const timer = nextMs === null ? null : setTimeout(resolve, Math.max(0, nextMs - now()));
      this.#wake = () => {
        if (timer !== null) clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }
}
