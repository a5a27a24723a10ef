import { expect, it } from "vitest";
import { type Migration, migrate } from "../../durable/io/migrate.ts";
import { inEmptyStorage, tables } from "./support.ts";

const first: Migration = (sql) => {
  sql.exec("CREATE TABLE backend (id TEXT NOT NULL)");
};
const second: Migration = (sql) => {
  sql.exec("ALTER TABLE backend ADD COLUMN weight INTEGER NOT NULL DEFAULT 1");
};
const third: Migration = (sql) => {
  sql.exec("UPDATE backend SET weight = weight * 10");
};
const failing: Migration = (sql) => {
  sql.exec("DELETE FROM backend");
  sql.exec("CREATE TABLE half_done (id TEXT)");
  sql.exec("INSERT INTO missing VALUES (1)");
};

it("makes the tables of an empty storage, step by step", async () => {
  await inEmptyStorage("migrate-empty", (storage) => {
    migrate(storage, [first, second, third]);
    expect(tables(storage)).toEqual({ schema_version: [{ version: 3 }], backend: [] });
  });
});

it("takes older tables through the steps they lack, in order and keeping the data", async () => {
  await inEmptyStorage("migrate-older", (storage) => {
    migrate(storage, [first]);
    storage.sql.exec("INSERT INTO backend VALUES ('a')");
    migrate(storage, [first, second, third]);
    expect(tables(storage)).toEqual({ schema_version: [{ version: 3 }], backend: [{ id: "a", weight: 10 }] });
  });
});

it("takes no step twice", async () => {
  await inEmptyStorage("migrate-again", (storage) => {
    migrate(storage, [first, second]);
    storage.sql.exec("INSERT INTO backend VALUES ('a', 7)");
    migrate(storage, [first, second, third]);
    migrate(storage, [first, second, third]);
    expect(tables(storage)).toEqual({ schema_version: [{ version: 3 }], backend: [{ id: "a", weight: 70 }] });
  });
});

it("refuses tables newer than the code, saying so, and writes nothing", async () => {
  await inEmptyStorage("migrate-newer", (storage) => {
    migrate(storage, [first, second, third]);
    storage.sql.exec("INSERT INTO backend VALUES ('a', 7)");
    const before = tables(storage);
    expect(() => migrate(storage, [first])).toThrow(
      "stored schema version 3 is newer than 1, the newest this code knows",
    );
    expect(tables(storage)).toEqual(before);
  });
});

it("rolls every step back when one fails", async () => {
  await inEmptyStorage("migrate-failing", (storage) => {
    migrate(storage, [first]);
    storage.sql.exec("INSERT INTO backend VALUES ('a')");
    const before = tables(storage);
    expect(() => migrate(storage, [first, second, failing])).toThrow("no such table: missing");
    expect(tables(storage)).toEqual(before);
  });
});

it("leaves an empty storage empty when its first step fails", async () => {
  await inEmptyStorage("migrate-failing-first", (storage) => {
    expect(() => migrate(storage, [first, failing])).toThrow("no such table: missing");
    expect(tables(storage)).toEqual({});
  });
});
