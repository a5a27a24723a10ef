import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SnapshotArchive } from "../../durable/io/snapshot-archive.ts";
import { Store } from "../../durable/io/store.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import type { Result } from "../../durable/model/result.ts";
import type { RoutingTable, Snapshot, Versioned } from "../../durable/model/snapshot.ts";
import { callObject } from "../../worker/edge/ring-client.ts";
import { accepted, directory, freezeTime, inEmptyStorage, poolName, refused, ring } from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

function snapshotOf(name: string, version: number | null): Promise<Result<Snapshot>> {
  return callObject<Snapshot>(env.RING, name, "published", { version });
}

describe("what isolates routed from", () => {
  it("can be had again at every version, as it was, through an eviction", async () => {
    const held = ring("archive-ring");
    await held.put({ a: {}, b: {} });
    const first = await held.published();
    await held.drain("a", 60_000);
    const second = await held.published();
    await held.evict();
    expect(accepted(await snapshotOf(held.name, 1))).toEqual(first);
    expect(accepted(await snapshotOf(held.name, 2))).toEqual(second);
    expect(accepted(await snapshotOf(held.name, null))).toEqual(second);
    expect(refused(await snapshotOf(held.name, 3))).toMatchObject({ kind: "not-found" });
  });

  it("is forgotten with its pool, and one of the same name has none of it", async () => {
    const held = ring("archive-deleted");
    await held.put({ a: {} });
    await held.do({ kind: "delete-pool" });
    expect(refused(await snapshotOf(held.name, 1))).toMatchObject({ kind: "not-found" });
    const { version } = await held.put({ b: {} });
    expect(refused(await snapshotOf(held.name, 1))).toMatchObject({ kind: "not-found" });
    expect(accepted(await snapshotOf(held.name, version))).toEqual(await held.published());
  });

  it("is kept of the directory, too", async () => {
    const held = directory("archive-directory");
    const first = await held.published();
    await held.do({ kind: "add-pool", name: poolName("shop") });
    const wanted = { version: first.version };
    const found = await callObject<RoutingTable>(env.DIRECTORY, held.name, "published", wanted);
    expect(accepted(found)).toEqual(first);
  });
});

/** The versions that are kept after these were added. */
function keptOf(added: readonly Versioned[]): Promise<readonly unknown[]> {
  return inEmptyStorage("archive-bounds", (storage) => {
    void new Store(storage);
    const archive = new SnapshotArchive(storage);
    for (const document of added) archive.add(document);
    const rows = storage.sql.exec("SELECT version FROM published ORDER BY version").toArray();
    return rows.map(({ version }) => version);
  });
}

function documents(count: number, told: object = {}): readonly Versioned[] {
  return Array.from({ length: count }, (_, index) => ({
    incarnation: "life",
    version: index + 1,
    ...told,
  }));
}

describe("an archive", () => {
  it("keeps so many versions and no more", async () => {
    const kept = await keptOf(documents(LIMITS.archivedVersions + 50));
    expect([kept.length, kept[0]]).toEqual([LIMITS.archivedVersions, 51]);
  });

  it("keeps so much and no more", async () => {
    const text = "x".repeat(LIMITS.archivedDocument - 100);
    const kept = await keptOf(documents(40, { text }));
    expect([kept.length, kept.at(-1)]).toEqual([
      Math.floor(LIMITS.archivedCharacters / LIMITS.archivedDocument),
      40,
    ]);
  });

  it("leaves out what SQLite would refuse", async () => {
    const text = "x".repeat(LIMITS.archivedDocument);
    expect(await keptOf([...documents(2), { incarnation: "life", version: 3, text } as Versioned])).toEqual([
      1, 2,
    ]);
  });
});
