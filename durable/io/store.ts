import { type Migration, migrate } from "./migrate.ts";

const MIGRATIONS: readonly Migration[] = [
  (sql) => {
    sql.exec("CREATE TABLE head (only INTEGER PRIMARY KEY CHECK (only = 0), json TEXT NOT NULL)");
    sql.exec("CREATE TABLE rows (position INTEGER PRIMARY KEY, json TEXT NOT NULL)");
    sql.exec("CREATE TABLE longest_lease (only INTEGER PRIMARY KEY CHECK (only = 0), ms INTEGER NOT NULL)");
  },
  (sql) => {
    sql.exec("CREATE TABLE events (id INTEGER PRIMARY KEY, json TEXT NOT NULL)");
    sql.exec("CREATE TABLE last_event (only INTEGER PRIMARY KEY CHECK (only = 0), id INTEGER NOT NULL)");
    sql.exec(
      "CREATE TABLE outbox (event INTEGER, url TEXT, json TEXT NOT NULL, PRIMARY KEY (event, url)) WITHOUT ROWID",
    );
  },
  (sql) => {
    // `asked`: 1 where somebody asked for it, 0 where it came by itself.
    sql.exec(
      "CREATE TABLE versions (version INTEGER PRIMARY KEY, asked INTEGER NOT NULL, bytes INTEGER NOT NULL, json TEXT NOT NULL)",
    );
    sql.exec(
      "CREATE TABLE parts (name TEXT, version INTEGER, json TEXT, PRIMARY KEY (name, version)) WITHOUT ROWID",
    );
    sql.exec(
      "CREATE TABLE lost_leases (at_ms INTEGER PRIMARY KEY, unacknowledged INTEGER NOT NULL, busy INTEGER NOT NULL, in_flight INTEGER NOT NULL)",
    );
  },
  (sql) => {
    sql.exec(
      "CREATE TABLE published (version INTEGER PRIMARY KEY, characters INTEGER NOT NULL, json TEXT NOT NULL)",
    );
  },
];

/**
 * The truth of one object on disk: a head, and a list of rows because a list of 1,000 in one value could pass the 2 MB
 * that a value may hold. Every method throws when storage fails, and then nothing of that call was written.
 */
export class Store<Head, Row> {
  readonly #storage: DurableObjectStorage;
  /** The rows as last read or written, so that only what differs is written again. */
  #rows: readonly string[] = [];

  constructor(storage: DurableObjectStorage) {
    migrate(storage, MIGRATIONS);
    this.#storage = storage;
  }

  /** What was last written; null when nothing ever was. */
  read(): { readonly head: Head; readonly rows: readonly Row[] } | null {
    const { sql } = this.#storage;
    const [head] = sql.exec<{ json: string }>("SELECT json FROM head").toArray();
    if (head === undefined) return null;
    const rows = sql.exec<{ json: string }>("SELECT json FROM rows ORDER BY position").toArray();
    this.#rows = rows.map((row) => row.json);
    return { head: JSON.parse(head.json) as Head, rows: this.#rows.map((json) => JSON.parse(json) as Row) };
  }

  /** Writes a head and its rows over the last ones, and whatever `alongside` writes, all or nothing. */
  write(head: Head, rows: readonly Row[], alongside: () => void = () => {}): void {
    const next = rows.map((row) => JSON.stringify(row));
    this.#storage.transactionSync(() => {
      const { sql } = this.#storage;
      sql.exec("INSERT OR REPLACE INTO head VALUES (0, ?)", JSON.stringify(head));
      if (next.length < this.#rows.length) sql.exec("DELETE FROM rows WHERE position >= ?", next.length);
      next.forEach((json, position) => {
        if (json !== this.#rows[position])
          sql.exec("INSERT OR REPLACE INTO rows VALUES (?, ?)", position, json);
      });
      alongside();
    });
    this.#rows = next;
  }

  /** The longest lease that may have been granted, milliseconds; 0 when none ever was. */
  readLongestLeaseMs(): number {
    const [row] = this.#storage.sql.exec<{ ms: number }>("SELECT ms FROM longest_lease").toArray();
    return row?.ms ?? 0;
  }

  writeLongestLeaseMs(leaseMs: number): void {
    this.#storage.sql.exec("INSERT OR REPLACE INTO longest_lease VALUES (0, ?)", leaseMs);
  }

  /** Resolves when everything written so far is durable. */
  async settled(): Promise<void> {
    await this.#storage.sync();
  }
}
