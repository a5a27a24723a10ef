import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { QuicLbExport } from "../../durable/model/quic-lb-export.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { callObject } from "../../worker/edge/ring-client.ts";
import { accepted, freezeTime, type HeldRing, id, pass, refused, ring } from "./support.ts";

// The clock stands still but for `pass`. Of a lease of 30 s the ring stores 32 s; by the isolates' clocks, which may be
// slow by one in a hundred and stand still for a second, it ends within 33.5 s.

const HOUR_MS = 3_600_000;
const LEASE_ENDS_MS = 33_500;

/** Longer than anything made before can be readable: a day, an hour without the ring, and a lease. */
const READABLE_MS = 26 * HOUR_MS;

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

/** Each configuration and its phase, in short: `["0 retired", "1 writing"]`. */
async function phases(held: HeldRing): Promise<readonly string[]> {
  const { tokens } = await held.status();
  return tokens.configs.map((config) => `${config.id} ${config.phase}`);
}

/** The document as an isolate gets it that holds what it was given last. */
async function refresh(held: HeldRing, isolate: string, last: Snapshot | null): Promise<Snapshot> {
  const words = last === null ? {} : { incarnation: last.incarnation, haveVersion: last.version };
  const { document } = await held.lease({ isolate, ...words });
  const got = document ?? last;
  if (got === null) throw new Error("no document came");
  return got;
}

describe("a key rotation", () => {
  it("writes under the new configuration only when every isolate holds it, and keeps the old one readable", async () => {
    const held = ring("tokens-rotation");
    await held.put({ a: 1 });
    const first = await refresh(held, "isolate-one", null);
    await refresh(held, "isolate-two", null);
    await held.do({ kind: "rotate-keys" });
    const spreading = await refresh(held, "isolate-one", first);
    expect(spreading.tokens).toMatchObject({ writeId: 0, configs: [{ id: 0 }, { id: 1 }] });
    expect((await refresh(held, "isolate-one", spreading)).tokens.writeId).toBe(0);
    await refresh(held, "isolate-two", first);
    expect(await phases(held)).toEqual(["0 writing", "1 spreading"]);
    await refresh(held, "isolate-two", spreading);
    expect(await phases(held)).toEqual(["0 retired", "1 writing"]);
    const promoted = await refresh(held, "isolate-one", spreading);
    expect(promoted.version).toBe(spreading.version + 1);
    expect(promoted.tokens).toEqual({ ...spreading.tokens, writeId: 1 });
    expect(promoted.tokens.configs[0]).toEqual(first.tokens.configs[0]);
  });

  it("makes isolates ask every second while it spreads", async () => {
    const held = ring("tokens-hurry");
    await held.put({ a: 1 });
    await held.lease();
    await held.do({ kind: "rotate-keys" });
    expect((await held.lease()).nextSyncMs).toBeLessThanOrEqual(1_000);
  });

  it("goes on by alarms alone, and drops the old configuration with its last token", async () => {
    const held = ring("tokens-alarms");
    await held.put({ a: 1 });
    await held.lease();
    const { version } = await held.do({ kind: "rotate-keys" });
    pass(1_000);
    await held.runAlarm();
    expect((await held.view()).version).toBe(version);
    pass(LEASE_ENDS_MS);
    await held.runAlarm();
    expect((await held.view()).version).toBe(version + 1);
    const retiresMs = await held.alarmAtMs();
    expect(retiresMs).toBeGreaterThan(Date.now() + 25 * HOUR_MS);
    pass(READABLE_MS);
    await held.runAlarm();
    expect((await held.view()).version).toBe(version + 2);
    expect(await phases(held)).toEqual(["1 writing"]);
    expect(await held.alarmAtMs()).toBeNull();
  });

  it("is survived by an eviction in its middle, after which nothing governs for the longest lease", async () => {
    const held = ring("tokens-evicted");
    await held.put({ a: 1 });
    const first = await refresh(held, "isolate-one", null);
    await held.do({ kind: "rotate-keys" });
    const spreading = await refresh(held, "isolate-one", first);
    await held.evict();
    expect((await refresh(held, "isolate-one", spreading)).tokens).toEqual(spreading.tokens);
    expect(await phases(held)).toEqual(["0 writing", "1 spreading"]);
    pass(LEASE_ENDS_MS);
    await held.evict();
    expect(await phases(held)).toEqual(["0 writing", "1 spreading"]);
    pass(LEASE_ENDS_MS);
    await held.runAlarm();
    await held.evict();
    expect((await refresh(held, "isolate-one", spreading)).tokens).toEqual({
      ...spreading.tokens,
      writeId: 1,
    });
  });

  it("is one version each when alarms come early and twice", async () => {
    const held = ring("tokens-twice");
    await held.put({ a: 1 });
    await held.lease();
    const { version } = await held.do({ kind: "rotate-keys" });
    for (const afterMs of [0, LEASE_ENDS_MS, 0]) {
      pass(afterMs);
      await held.inside((storage) => storage.setAlarm(Date.now()));
      await held.runAlarm();
    }
    expect((await held.view()).version).toBe(version + 1);
  });

  it("is refused while one is under way, and changes nothing", async () => {
    const held = ring("tokens-refused");
    await held.put({ a: 1 });
    await held.lease();
    const { version } = await held.do({ kind: "rotate-keys" });
    expect(refused(await held.apply({ kind: "rotate-keys" }))).toMatchObject({ kind: "conflict" });
    expect((await held.view()).version).toBe(version);
  });

  it("comes by itself when the pool has a schedule", async () => {
    const held = ring("tokens-schedule");
    await held.put({ a: 1 }, { tokens: { rotateEveryMs: 8 * HOUR_MS } });
    expect(await held.alarmAtMs()).toBe(Date.now() + 8 * HOUR_MS);
    await held.evict();
    pass(8 * HOUR_MS);
    await held.runAlarm();
    expect(await phases(held)).toEqual(["0 retired", "1 writing"]);
  });

  it("makes keys that no other rotation and no other life of the pool has", async () => {
    const held = ring("tokens-fresh");
    await held.put({ a: 1 });
    const first = await held.published();
    await held.do({ kind: "rotate-keys" });
    const second = await held.published();
    await held.do({ kind: "delete-pool" });
    await held.put({ a: 1 });
    const third = await held.published();
    const configs = [...second.tokens.configs, ...third.tokens.configs];
    expect(configs[0]).toEqual(first.tokens.configs[0]);
    expect(new Set(configs.flatMap(({ key, macKey }) => [key, macKey])).size).toBe(6);
  });
});

describe("a server id", () => {
  it("is reserved for a removed backend through an eviction, then freed by the alarm", async () => {
    const held = ring("tokens-removed");
    await held.put({ a: 1, b: 1 });
    const { version } = await held.do({ kind: "remove-backend", id: id("a") });
    await held.evict();
    expect((await held.published()).tokens.removed).toEqual([{ serverId: 0, id: "a" }]);
    expect((await held.status()).tokens.serverIds).toEqual({ used: 1, reserved: 1, free: 9_998 });
    pass(READABLE_MS);
    await held.runAlarm();
    expect((await held.view()).version).toBe(version + 1);
    expect((await held.published()).tokens.removed).toEqual([]);
    expect(await held.alarmAtMs()).toBeNull();
  });
});

describe("the export", () => {
  it("holds every readable configuration with its key and the servers it can name", async () => {
    const held = ring("tokens-export");
    await held.put({ a: 1, b: { url: "https://b.example:8443/base", labels: { region: "weur" } } });
    await held.do({ kind: "rotate-keys" });
    const { tokens } = await held.published();
    const exported = accepted(await callObject<QuicLbExport>(env.RING, held.name, "exportTokens", {}));
    expect(exported["ietf-quic-lb-middlebox:quic-lb"]["cid-configs"]).toEqual(
      tokens.configs.map((config) => ({
        "config-rotation-bits": config.id,
        "first-octet-encodes-cid-length": true,
        "server-id-length": 4,
        "nonce-length": 12,
        "cid-key": config.key.match(/../g)?.join(":"),
        "server-id-mappings": [
          { "server-id": "00:00:00:00", "server-address": "a.example" },
          { "server-id": "00:00:00:01", "server-address": "b.example:8443" },
        ],
      })),
    );
  });

  it("holds no key of plaintext tokens, and the region of regional ones", async () => {
    const held = ring("tokens-export-layouts");
    await held.put({ a: { labels: { region: "weur" } } }, { tokens: { generator: "plaintext" } });
    await held.do({ kind: "patch-pool", patch: { tokens: { generator: "regional" } } });
    const exported = accepted(await callObject<QuicLbExport>(env.RING, held.name, "exportTokens", {}));
    const [plaintext, regional] = exported["ietf-quic-lb-middlebox:quic-lb"]["cid-configs"];
    expect(plaintext).not.toHaveProperty("cid-key");
    expect(regional?.["server-id-mappings"][0]?.["server-id"]).toMatch(/^(?!00)[0-9a-f]{2}:00:00:00$/);
  });

  it("finds no pool where none is", async () => {
    const answer = await callObject(env.RING, ring("tokens-export-none").name, "exportTokens", {});
    expect(refused(answer)).toMatchObject({ kind: "not-found" });
  });
});

/** Makes it as it was stored before there were tokens: neither keys nor settings for them, nor server ids. */
async function makeOld(held: HeldRing): Promise<void> {
  await held.inside(({ sql }) => {
    sql.exec("UPDATE head SET json = json_remove(json, '$.tokens', '$.config.tokens', '$.config.sessions')");
    sql.exec("UPDATE rows SET json = json_remove(json, '$.serverId')");
  });
  await held.evict();
}

describe("a pool that was stored before there were tokens", () => {
  it("gets keys, settings at their defaults and server ids, in a version of its own", async () => {
    const held = ring("tokens-upgrade");
    await held.put({ a: 5, b: 1 }, { drainMs: 1_000 });
    const [view, before] = [await held.view(), await held.published()];
    await makeOld(held);
    const upgraded = await held.published();
    expect(upgraded).toEqual({ ...before, version: before.version + 1, tokens: upgraded.tokens });
    expect(upgraded.tokens).toMatchObject({ writeId: 0, configs: [{ id: 0, serverIdBytes: 4 }] });
    expect(await held.view()).toEqual({ ...view, version: view.version + 1 });
  });

  it("keeps them: the upgrade is saved", async () => {
    const held = ring("tokens-upgrade-saved");
    await held.put({ a: 5, b: 1 });
    await makeOld(held);
    const upgraded = await held.published();
    await held.evict();
    expect(await held.published()).toEqual(upgraded);
  });

  it("stays deleted when it was", async () => {
    const held = ring("tokens-upgrade-deleted");
    await held.put({ a: 1 });
    await held.do({ kind: "delete-pool" });
    await makeOld(held);
    expect(refused(await held.tryView())).toMatchObject({ kind: "not-found" });
    expect(await held.put({ a: 1 })).toMatchObject({ version: 3 });
  });
});
