import { expect, it } from "vitest";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { after } from "../../durable/model/time.ts";
import { type Carried, Sessions, TOKEN_RANDOM_BYTES } from "../../worker/core/sessions.ts";
import { NOON, snapshot, TOKEN_CONFIG } from "./support/build.ts";
import { poolConfig } from "./support/visit.ts";

/** A snapshot of a pool whose tokens are told so much about. */
function told(tokens: Readonly<Record<string, unknown>> = {}, changed: Partial<Snapshot> = {}): Snapshot {
  return snapshot({ a: 1 }, { config: poolConfig({ tokens }), ...changed });
}

const HOME = { serverId: 5, region: null };

/** Bytes that count up from a number. */
function bytesFrom(first: number): Uint8Array {
  return Uint8Array.from({ length: TOKEN_RANDOM_BYTES }, (_, index) => first + index);
}

function read(sessions: Sessions, headers: Readonly<Record<string, string>>, nowMs = NOON): Carried | null {
  return sessions.read(new Headers(headers), nowMs);
}

it("writes a token for a backend, and reads back all that it says", () => {
  const sessions = new Sessions(told({ cookie: null, header: "ring-token", lifetimeMs: 60_000 }), null);
  const nowMs = after(NOON, 30_000);
  const grant = { backend: HOME, sessionId: "0123456789abcdef", startedMs: NOON };
  const [header] = sessions.write(grant, nowMs, bytesFrom(0));
  expect(read(sessions, { "ring-token": header?.[1] ?? "" }, nowMs)).toMatchObject({
    kind: "opened",
    token: { sessionId: grant.sessionId, startedMs: NOON, serverId: 5, expiresMs: after(nowMs, 60_000) },
  });
});

it("makes up the id of a new session, and never the same token twice, from the random bytes it gets", () => {
  const sessions = new Sessions(told({ cookie: null, header: "ring-token" }), null);
  const isNew = { backend: HOME, sessionId: null, startedMs: NOON };
  const texts = [1, 2].map((first) => sessions.write(isNew, NOON, bytesFrom(first))[0]?.[1] ?? "");
  const opened = texts.map((text) => read(sessions, { "ring-token": text }));
  expect(opened).toMatchObject([
    { token: { sessionId: "0102030405060708" } },
    { token: { sessionId: "0203040506070809" } },
  ]);
  const known = { backend: HOME, sessionId: "0123456789abcdef", startedMs: NOON };
  const [one, other] = [1, 2].map((first) => sessions.write(known, NOON, bytesFrom(first))[0]?.[1]);
  expect(one).not.toBe(other);
});

it("takes the nonce from other bytes than the id of the session, which the client can read", () => {
  const sessions = new Sessions(told({ cookie: null, header: "ring-token" }), null);
  const isNew = { backend: HOME, sessionId: null, startedMs: NOON };
  const other = bytesFrom(1).fill(9, 0, 8);
  const cids = [bytesFrom(1), other].map((random) =>
    sessions.write(isNew, NOON, random)[0]?.[1].slice(0, 22),
  );
  expect(cids[0]).toBe(cids[1]);
});

it("writes with enough random bytes for the longest nonce there is", () => {
  const configs = [{ ...TOKEN_CONFIG, serverIdBytes: 1, nonceBytes: 18 }];
  const sessions = new Sessions(told({}, { tokens: { writeId: 0, configs, removed: [] } }), null);
  const isNew = { backend: HOME, sessionId: null, startedMs: NOON };
  expect(sessions.write(isNew, NOON, bytesFrom(0))).toHaveLength(1);
});

it("writes the same token into every carrier of the pool, and reads it from each", () => {
  const sessions = new Sessions(told({ header: "ring-token" }), null);
  const headers = sessions.write({ backend: HOME, sessionId: null, startedMs: NOON }, NOON, bytesFrom(0));
  const { "set-cookie": cookie = "", "ring-token": token = "" } = Object.fromEntries(headers);
  expect(cookie).toBe(`__Host-ring-shop=${token}; Path=/; Secure; HttpOnly; SameSite=Lax`);
  for (const carried of [{ cookie: `__Host-ring-shop=${token}` }, { "ring-token": token }]) {
    expect(read(sessions, carried)).toMatchObject({ kind: "opened", token: { serverId: 5 } });
  }
});

it("carries nothing where a request has no token, and what it has where none can be read", () => {
  const sessions = new Sessions(told({ header: "ring-token" }), null);
  expect(read(sessions, {})).toBeNull();
  expect(read(sessions, { cookie: "x=1; __Host-ring-other=t" })).toBeNull();
  expect(read(sessions, { cookie: "__Host-ring-shop=junk" })).toEqual({ kind: "invalid", text: "junk" });
  expect(read(sessions, { cookie: "__Host-ring-shop=" })).toEqual({ kind: "invalid", text: "" });
});

it("goes on counting a token's requests under a new snapshot, and reads it anew under new keys", () => {
  const first = new Sessions(told(), null);
  const [header] = first.write({ backend: HOME, sessionId: null, startedMs: NOON }, NOON, bytesFrom(0));
  const carried = { cookie: header?.[1].split(";")[0] ?? "" };
  const held = read(first, carried);
  const opened = held?.kind === "opened" ? held.token : null;
  if (opened !== null) opened.requests = 7;
  const next = new Sessions(told({}, { version: 2 }), first);
  expect(read(next, carried)).toMatchObject({ kind: "opened", token: { requests: 7 } });
  const configs = [{ ...TOKEN_CONFIG, key: "9".repeat(32), macKey: "9".repeat(32) }];
  const rekeyed = told({}, { tokens: { writeId: 0, configs, removed: [] } });
  expect(read(new Sessions(rekeyed, next), carried)).toMatchObject({ kind: "invalid" });
});
