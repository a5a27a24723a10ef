/** One step of the schema; its place in the list is the version it leads to. */
export type Migration = (sql: SqlStorage) => void;

/**
 * Brings the tables of an object to the newest schema, all or nothing.
 *
 * @throws Error when the tables are of a schema newer than this code knows: a rolled-back deploy must not write there.
 */
export function migrate(storage: DurableObjectStorage, migrations: readonly Migration[]): void {
  storage.transactionSync(() => {
    const { sql } = storage;
    sql.exec("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)");
    const [row] = sql.exec<{ version: number }>("SELECT version FROM schema_version").toArray();
    const from = row?.version ?? 0;
    if (from > migrations.length) {
      throw new Error(
        `stored schema version ${from} is newer than ${migrations.length}, the newest this code knows`,
      );
    }
    if (from === migrations.length) return;
    for (const step of migrations.slice(from)) step(sql);
    if (row === undefined) sql.exec("INSERT INTO schema_version VALUES (?)", migrations.length);
    else sql.exec("UPDATE schema_version SET version = ?", migrations.length);
  });
}
