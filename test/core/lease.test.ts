import { expect, it } from "vitest";
import type { Versioned } from "../../durable/model/snapshot.ts";
import { after } from "../../durable/model/time.ts";
import { decideUse, type Held, install, mayServeStale } from "../../worker/core/lease.ts";
import { NOON } from "./support/build.ts";

/** A document held since noon, by sync 5: due at 5 s, its lease over at 30 s. */
function held(version: number, incarnation = "life"): Held<Versioned> {
  return {
    document: { incarnation, version },
    seq: 5,
    leaseEndsMs: after(NOON, 30_000),
    refreshAtMs: after(NOON, 5_000),
  };
}

/** A reply with a document. */
function reply(version: number, incarnation = "life") {
  const document: Versioned = { incarnation, version };
  return { kind: "leased", incarnation, version, document, leaseMs: 30_000, nextSyncMs: 5_000 } as const;
}

/** A reply to an isolate that holds this version already. */
function unchanged(version: number, incarnation = "life") {
  return { ...reply(version, incarnation), document: null };
}

const SENT_MS = after(NOON, 4_000);

it("counts a lease from before the sync was sent", () => {
  expect(install(null, reply(1), 1, SENT_MS)).toEqual({
    document: { incarnation: "life", version: 1 },
    seq: 1,
    leaseEndsMs: after(SENT_MS, 30_000),
    refreshAtMs: after(SENT_MS, 5_000),
  });
});

it("renews the lease of a document that is still the newest", () => {
  expect(install(held(3), unchanged(3), 6, SENT_MS)).toEqual({
    document: { incarnation: "life", version: 3 },
    seq: 6,
    leaseEndsMs: after(SENT_MS, 30_000),
    refreshAtMs: after(SENT_MS, 5_000),
  });
});

it("shortens no lease by a reply to an earlier sync", () => {
  expect(install(held(3), unchanged(3), 4, after(NOON, -9_000))).toEqual(held(3));
});

it("installs what is newer and drops what is older", () => {
  expect(install(held(3), reply(4), 6, SENT_MS)).toMatchObject({ document: { version: 4 }, seq: 6 });
  expect(install(held(3), reply(2), 6, SENT_MS)).toEqual(held(3));
});

it("takes a document of another incarnation only from a later sync", () => {
  expect(install(held(3), reply(4, "next life"), 6, SENT_MS)).toMatchObject({
    document: { incarnation: "next life", version: 4 },
  });
  expect(install(held(3), reply(4, "next life"), 4, SENT_MS)).toEqual(held(3));
});

// What happened: the ring restarted and answered a sync that had been overtaken, so something newer came under an older
// number. That number was kept, and a reply of the pool's last life, overtaken as well, passed for a later one.
it("does not go back to an earlier incarnation after a newer document came by an overtaken sync", () => {
  const newer = install(held(3, "next life"), reply(4, "next life"), 1, SENT_MS);
  expect(newer).toMatchObject({ document: { version: 4 } });
  expect(install(newer, reply(2, "life"), 4, SENT_MS)).toEqual(newer);
});

it("makes nothing of a reply without a document where there is nothing to renew", () => {
  expect(install(null, unchanged(3), 1, SENT_MS)).toBeNull();
  expect(install(held(3), unchanged(4), 6, SENT_MS)).toEqual(held(3));
  expect(install(held(3), unchanged(4, "next life"), 6, SENT_MS)).toEqual(held(3));
});

it.each([
  [0, "fresh"],
  [4_999, "fresh"],
  [5_000, "due"],
  [29_999, "due"],
  [30_000, "expired"],
] as const)("%d ms after the sync was sent a document is %s", (ms, use) => {
  expect(decideUse(held(1), after(NOON, ms))).toBe(use);
});

it("is missing where nothing is held", () => {
  expect(decideUse(null, NOON)).toBe("missing");
});

it("serves past the lease for as long as it may, not longer", () => {
  expect(mayServeStale(held(1), 60_000, after(NOON, 89_999))).toBe(true);
  expect(mayServeStale(held(1), 60_000, after(NOON, 90_000))).toBe(false);
});
