import { HistoryLog } from "./io/history-log.ts";
import type {
  Difference,
  HistoryEntry,
  LostLeasesView,
  PastDocument,
  VersionsRequest,
  VersionsView,
} from "./model/history.ts";
import { ok, type Result, refuse } from "./model/result.ts";
import type { EpochMs } from "./model/time.ts";
import { diff } from "./state/diff.ts";
import { countLost, type Gone } from "./state/lost-leases.ts";
import { assemble, differingParts, type Kept, projectVersions } from "./state/parts.ts";

/** What an object remembers of its versions: who made them, what they changed, and every document. */
export class Archive {
  readonly #log: HistoryLog;
  /** The field of the document that is a list of things with ids. */
  readonly #list: string;

  constructor(storage: DurableObjectStorage, list: "backends" | "routes") {
    this.#log = new HistoryLog(storage);
    this.#list = list;
  }

  /** The last version that is remembered; 0: none. */
  get newest(): number {
    return this.#log.newest;
  }

  /** Remembers a version; to be called within the transaction that writes it. Null: no document. */
  record(entry: HistoryEntry, before: Kept | null, after: Kept | null): void {
    this.#log.append(entry, differingParts(before, after, this.#list));
  }

  /** Versions, with all that they changed. */
  versions({ before, limit }: VersionsRequest): VersionsView {
    const { oldest, newest } = this.#log;
    const entries = this.#log.entries(before ?? newest + 1, limit);
    const [first, last] = [entries.at(-1)?.version ?? 0, entries[0]?.version ?? 0];
    const base = this.#log.partsAt(first - 1);
    const since = this.#log.partsBetween(first - 1, last);
    const versions = projectVersions(entries.toReversed(), base, since, this.#list).toReversed();
    return { versions, oldest, newest };
  }

  /** The document as it was at a version. */
  documentAt(version: number): Result<PastDocument> {
    const { oldest, newest } = this.#log;
    if (version < oldest || version > newest)
      return refuse({
        kind: "not-found",
        detail: `version ${version} is not kept; kept are ${oldest}…${newest}`,
      });
    const document = assemble(this.#log.partsAt(version), this.#list);
    return document === null
      ? refuse({ kind: "not-found", detail: `there was nothing at version ${version}: it had been deleted` })
      : ok({ version, document });
  }

  /** What is different between the documents of two versions. */
  difference({ from, to }: Pick<Difference, "from" | "to">): Result<Difference> {
    const [before, after] = [this.documentAt(from), this.documentAt(to)];
    if (!before.ok) return before;
    if (!after.ok) return after;
    return ok({ from, to, changes: diff(before.value.document, after.value.document) });
  }

  /** Counts the leases that were lost of isolates that are gone. What cannot be written is not counted: traffic matters more. */
  countGone(gone: readonly Gone[], version: number, nowMs: EpochMs): void {
    const lost = countLost(gone, version, nowMs);
    if (lost === null) return;
    try {
      this.#log.addLost(lost);
    } catch (error) {
      console.error(error);
    }
  }

  lostLeases(): LostLeasesView {
    return { minutes: this.#log.lost() };
  }
}
