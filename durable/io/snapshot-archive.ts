import { LIMITS } from "../model/limits.ts";
import { ok, type Result, refuse } from "../model/result.ts";
import type { Versioned, VersionWanted } from "../model/snapshot.ts";

/**
 * The last versions of what an object published, on disk, so that what an isolate decided can be decided again. Its table is
 * made by the migrations of `Store`, which comes first. What is to be written together with more is written within
 * `Store.write`.
 */
export class SnapshotArchive<Document extends Versioned> {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** Adds the newest version; of all there are, the oldest are forgotten. */
  add(document: Document): void {
    const { sql } = this.#storage;
    const json = JSON.stringify(document);
    sql.exec("DELETE FROM published WHERE version <= ?", document.version - LIMITS.archivedVersions);
    if (json.length > LIMITS.archivedDocument) return;
    sql.exec("INSERT OR REPLACE INTO published VALUES (?, ?, ?)", document.version, json.length, json);
    // The sum of a version and all newer ones tells whether there is room for it.
    sql.exec(
      `DELETE FROM published WHERE version IN (SELECT version FROM
        (SELECT version, SUM(characters) OVER (ORDER BY version DESC) AS total FROM published) WHERE total > ?)`,
      LIMITS.archivedCharacters,
    );
  }

  /** A version of the life that the present document is of. */
  find(present: Document, { version }: VersionWanted): Result<Document> {
    if (version === null || version === present.version) return ok(present);
    const query = "SELECT json FROM published WHERE version = ?";
    const [row] = this.#storage.sql.exec<{ json: string }>(query, version).toArray();
    const document = row === undefined ? null : (JSON.parse(row.json) as Document);
    return document?.incarnation === present.incarnation
      ? ok(document)
      : refuse({ kind: "not-found", detail: `version ${version} is not kept` });
  }

  /** Forgets everything. */
  clear(): void {
    this.#storage.sql.exec("DELETE FROM published");
  }
}
