import type { BackendId } from "../model/names.ts";
import {
  type Counts,
  INCIDENTS,
  OUTCOMES,
  type Outcome,
  PROTOCOLS,
  SESSION_FATES,
  zeros,
} from "../model/outcome.ts";
import type { Report } from "../model/sync.ts";

/** Isolates whose last batch is remembered; the one silent for longest is forgotten first. */
const MAX_ISOLATES = 50_000;

/**
 * The reports of all isolates, added up. A batch that is sent again because its acknowledgement was lost counts once.
 * It lives in memory and begins anew with the object.
 */
export class Counters {
  readonly protocols = zeros(PROTOCOLS);
  readonly incidents = zeros(INCIDENTS);
  readonly sessions = zeros(SESSION_FATES);
  #outcomes: ReadonlyMap<BackendId, Counts<Outcome>> = new Map();
  readonly #lastBatch = new Map<string, number>();

  /** Counts for these backends from now on; what was counted for others is dropped. */
  keepBackends(backends: readonly BackendId[]): void {
    this.#outcomes = new Map(backends.map((id) => [id, this.#outcomes.get(id) ?? zeros(OUTCOMES)]));
  }

  /** Adds a report of an isolate, unless this batch or a later one was added before; true when it was added now. */
  add(isolate: string, report: Report): boolean {
    if (report.batch <= (this.#lastBatch.get(isolate) ?? -1)) return false;
    this.#rememberBatch(isolate, report.batch);
    addTo(this.protocols, report.protocols, PROTOCOLS);
    addTo(this.incidents, report.incidents, INCIDENTS);
    addTo(this.sessions, report.sessions, SESSION_FATES);
    for (const { id, outcomes } of report.backends) {
      const counts = this.#outcomes.get(id);
      if (counts !== undefined) addTo(counts, outcomes, OUTCOMES);
    }
    return true;
  }

  /** What became of the attempts at one backend. */
  outcomes(backend: BackendId): Readonly<Counts<Outcome>> {
    return this.#outcomes.get(backend) ?? zeros(OUTCOMES);
  }

  #rememberBatch(isolate: string, batch: number): void {
    this.#lastBatch.delete(isolate);
    this.#lastBatch.set(isolate, batch);
    if (this.#lastBatch.size <= MAX_ISOLATES) return;
    for (const silent of this.#lastBatch.keys()) {
      this.#lastBatch.delete(silent);
      return;
    }
  }
}

function addTo<Word extends string>(
  sum: Counts<Word>,
  more: Readonly<Counts<Word>>,
  words: readonly Word[],
): void {
  for (const word of words) sum[word] += more[word];
}
