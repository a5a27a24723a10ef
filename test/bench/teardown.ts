type Step = () => Promise<void> | void;

/** What has to be undone, whatever happens: last done, first undone. */
export class Teardown {
  readonly #steps: Step[] = [];
  #run: Promise<void> | null = null;

  /** Has `step` done at the end. */
  defer(step: Step): void {
    this.#steps.push(step);
  }

  /** Does every step, the others too when one fails. Whoever asks again waits for the same. */
  run(): Promise<void> {
    this.#run ??= this.#undoAll();
    return this.#run;
  }

  async #undoAll(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        console.error("while cleaning up:", error);
      }
    }
  }
}
