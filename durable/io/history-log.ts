import type { HistoryEntry, LostLeases, Part } from "../model/history.ts";
import { LIMITS } from "../model/limits.ts";
import type { EpochMs } from "../model/time.ts";

/** How many versions more than asked for may pile up, so that not every write has to look through all of them. */
const SLACK = 50;

/**
 * The versions of an object on disk. A document is kept in parts, each under the versions that changed it, so that a version
 * costs what it changed. Its tables are made by the migrations of `Store`, which comes first. Every method throws when
 * storage fails; `append` is to be called within `Store.write`.
 */
export class HistoryLog {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  /** The last version that was written; 0: none. */
  get newest(): number {
    return this.#number("SELECT MAX(version) AS number FROM versions");
  }

  /** The oldest version that is kept, and with it every document since; 0: none. */
  get oldest(): number {
    return this.#number("SELECT MIN(version) AS number FROM versions");
  }

  /** Adds a version with the parts of the document that it changed, and forgets the oldest where they are too many. */
  append(entry: HistoryEntry, parts: readonly Pick<Part, "name" | "json">[]): void {
    const { version, ...told } = entry;
    const json = JSON.stringify(told);
    const bytes = parts.reduce((sum, part) => sum + part.name.length + (part.json?.length ?? 0), json.length);
    const asked = entry.command === null ? 0 : 1;
    this.#sql.exec("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?)", version, asked, bytes, json);
    for (const part of parts)
      this.#sql.exec("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", part.name, version, part.json);
    if (this.#isFull()) this.#forget(version);
  }

  /** Versions before one, newest first. */
  entries(before: number, limit: number): readonly HistoryEntry[] {
    const query = "SELECT version, json FROM versions WHERE version < ? ORDER BY version DESC LIMIT ?";
    const rows = this.#sql.exec<{ version: number; json: string }>(query, before, limit).toArray();
    return rows.map(({ version, json }) => {
      const { atMs, actor, command, reason, changes } = JSON.parse(json) as Omit<HistoryEntry, "version">;
      return { version, atMs, actor, command, reason, changes };
    });
  }

  /** Every part as it was at a version, those that were taken away left out. */
  partsAt(version: number): readonly Part[] {
    // SQLite takes the columns beside a MAX from the row that has it.
    const query = "SELECT name, MAX(version) AS version, json FROM parts WHERE version <= ? GROUP BY name";
    return this.#parts(query, version).filter(({ json }) => json !== null);
  }

  /** What changed after one version up to another, oldest first. */
  partsBetween(after: number, last: number): readonly Part[] {
    const query =
      "SELECT name, version, json FROM parts WHERE version > ? AND version <= ? ORDER BY version, name";
    return this.#parts(query, after, last);
  }

  /** Adds to the leases that were lost in a minute. */
  addLost({ atMs, unacknowledged, busy, inFlight }: LostLeases): void {
    this.#sql.exec(
      `INSERT INTO lost_leases VALUES (?, ?, ?, ?) ON CONFLICT (at_ms) DO UPDATE SET
        unacknowledged = unacknowledged + excluded.unacknowledged,
        busy = busy + excluded.busy,
        in_flight = in_flight + excluded.in_flight`,
      atMs,
      unacknowledged,
      busy,
      inFlight,
    );
    this.#sql.exec(
      "DELETE FROM lost_leases WHERE at_ms NOT IN (SELECT at_ms FROM lost_leases ORDER BY at_ms DESC LIMIT ?)",
      LIMITS.lostLeaseMinutes,
    );
  }

  /** The minutes in which leases were lost, newest first. */
  lost(): readonly LostLeases[] {
    const query = "SELECT * FROM lost_leases ORDER BY at_ms DESC";
    const rows = this.#sql
      .exec<{ at_ms: EpochMs; unacknowledged: number; busy: number; in_flight: number }>(query)
      .toArray();
    return rows.map(({ at_ms: atMs, unacknowledged, busy, in_flight: inFlight }) => ({
      atMs,
      unacknowledged,
      busy,
      inFlight,
    }));
  }

  #parts(query: string, ...bindings: readonly number[]): readonly Part[] {
    return this.#sql
      .exec<{ name: string; version: number; json: string | null }>(query, ...bindings)
      .toArray();
  }

  #number(query: string): number {
    const [row] = this.#sql.exec<{ number: number | null }>(query).toArray();
    return row?.number ?? 0;
  }

  #isFull(): boolean {
    const query =
      "SELECT SUM(asked) AS asked, COUNT(*) - SUM(asked) AS selfMade, SUM(bytes) AS bytes FROM versions";
    const { asked, selfMade, bytes } = this.#sql
      .exec<{ asked: number; selfMade: number; bytes: number }>(query)
      .one();
    const most = LIMITS.versions + SLACK;
    return asked > most || selfMade > most || bytes > LIMITS.historyBytes;
  }

  /** Keeps the newest of what operators did, the newest of the rest, so many bytes of both, and the last in any case. */
  #forget(last: number): void {
    for (const asked of [0, 1]) {
      this.#sql.exec(
        `DELETE FROM versions WHERE asked = ? AND version NOT IN (
          SELECT version FROM versions WHERE asked = ? ORDER BY version DESC LIMIT ?)`,
        asked,
        asked,
        LIMITS.versions,
      );
    }
    this.#sql.exec(
      `DELETE FROM versions WHERE version < ? AND version IN (SELECT version FROM (
        SELECT version, SUM(bytes) OVER (ORDER BY version DESC) AS total FROM versions) WHERE total > ?)`,
      last,
      LIMITS.historyBytes,
    );
    const { oldest } = this;
    // Of every part its state before the oldest version stays, since the differences to it are shown too.
    this.#sql.exec(
      `DELETE FROM parts WHERE version < (
        SELECT MAX(version) FROM parts AS later WHERE later.name = parts.name AND later.version < ?)`,
      oldest,
    );
    this.#sql.exec("DELETE FROM parts WHERE version < ? AND json IS NULL", oldest);
  }
}
