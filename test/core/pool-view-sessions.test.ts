import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { SessionFate } from "../../durable/model/outcome.ts";
import type { Affinity } from "../../durable/model/pool.ts";
import type { Admits, Snapshot, SnapshotBackend, TokenConfig } from "../../durable/model/snapshot.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import type { Choosing, Chosen } from "../../worker/core/choice.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { TOKEN_RANDOM_BYTES } from "../../worker/core/sessions.ts";
import { AT_ONCE, backendId, NOON, poolName, snapshot, TOKEN_CONFIG } from "./support/build.ts";
import { choose, connection, placeOf, poolConfig, visit } from "./support/visit.ts";

const TOKEN: Affinity = [{ by: "token" }];
const BY_TOKEN: Affinity = [{ by: "token" }, { by: "connection" }];
const HOUR_MS = 3_600_000;
const LIFETIME_MS = 24 * HOUR_MS;

type Backends = Readonly<Record<string, number | Admits | Partial<SnapshotBackend>>>;

/** The tokens of these tests travel in a header, where they are easily read. */
const IN_HEADER = { cookie: null, header: "ring-token", lifetimeMs: LIFETIME_MS };

/** Every backend that these tests know keeps its server id through all snapshots. */
const SERVER_IDS: readonly string[] = ["a", "b", "c", "d", "e", "f"];

/** They come to the pool when the first sessions have begun. */
const LATECOMERS: ReadonlySet<string> = new Set(["d", "e", "f"]);

function numbered(backend: SnapshotBackend): SnapshotBackend {
  const addedMs = LATECOMERS.has(backend.id) ? after(NOON, 1_000) : NOON;
  return { ...backend, addedMs, serverId: SERVER_IDS.indexOf(backend.id) };
}

/** A snapshot of a pool with sessions. Backends that are not in it were removed. */
function shop(
  backends: Backends,
  sessions: Readonly<Record<string, unknown>> = {},
  changed: Partial<Snapshot> = {},
): Snapshot {
  const config = poolConfig({ affinity: BY_TOKEN, tokens: IN_HEADER, sessions });
  const { backends: told, tokens, ...rest } = snapshot(backends, { config });
  const removed = SERVER_IDS.flatMap((id, serverId) =>
    id in backends ? [] : [{ serverId, id: backendId(id) }],
  );
  return {
    ...rest,
    tokens: { ...tokens, removed },
    backends: told.map((backend) => numbered(backend)),
    ...changed,
  };
}

/** Numbers that stand for random bytes: no two calls get the same. */
let drawn = 0;
function randomBytes(): Uint8Array {
  drawn++;
  return Uint8Array.from({ length: TOKEN_RANDOM_BYTES }, (_, index) => (drawn >>> (8 * (index % 4))) & 255);
}

/** The token that a client gets with its answer; null when it gets none. */
function tokenOf(view: PoolView, { grant }: Chosen, nowMs: EpochMs = NOON): string | null {
  if (grant === null) return null;
  const [header] = view.sessions.write(grant, nowMs, randomBytes());
  return header?.[1] ?? null;
}

/** A request that carries a token. */
function carrying(token: string, told: Parameters<typeof visit>[0] = {}): Choosing {
  return visit({ affinity: BY_TOKEN, headers: { "ring-token": token }, ...told });
}

/** A client's first request, and the token it gets. */
function arrive(view: PoolView, identity: string, nowMs: EpochMs = NOON): string {
  const first = visit({ affinity: BY_TOKEN, connection: connection(identity), nowMs });
  const token = tokenOf(view, choose(view, first), nowMs);
  if (token === null) throw new Error(`${identity} must get a token`);
  return token;
}

/** Tokens of many clients. */
function arriveAll(view: PoolView, count = 60): readonly string[] {
  return Array.from({ length: count }, (_, index) => arrive(view, `tls ${index}`));
}

/** A token of the backend of this id, found among those of many clients. */
function tokenFor(view: PoolView, id: string): string {
  const found = arriveAll(view).find((token) => placeOf(view, carrying(token)) === id);
  if (found === undefined) throw new Error(`nobody was led to ${id}`);
  return found;
}

function sessionOf(view: PoolView, token: string, nowMs: EpochMs = NOON): string | null {
  const carried = view.sessions.read(new Headers({ "ring-token": token }), nowMs);
  return carried?.kind === "opened" ? carried.token.sessionId : null;
}

const ABC: Backends = { a: 1, b: 1, c: 1 };
const KEPT = { fate: "kept", grant: null, inheritance: null };

it("gives a first request a token of the backend it is led to", () => {
  for (const affinity of [TOKEN, BY_TOKEN]) {
    const view = new PoolView(shop(ABC), NOON, 0);
    const first = choose(view, visit({ affinity, connection: connection("tls 1") }));
    expect(first).toMatchObject({ fate: null, grant: { startedMs: NOON }, inheritance: null });
    const next = choose(view, carrying(String(tokenOf(view, first)), { affinity }));
    expect(next).toMatchObject(KEPT);
    expect(next.channel).toBe(first.channel);
  }
});

it("leads 30 parallel first requests of one connection, in 3 isolates, to one backend and into one session", () => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom("round_robin", "rendezvous"), (name, policy) => {
      const views = [0.1, 0.5, 0.9].map(
        (chance) => new PoolView(shop({ a: 3, b: 1, c: 2, d: 1 }), NOON, chance),
      );
      const visits = Array.from({ length: 30 }, (_, index) => {
        const view = views[index % 3] ?? new PoolView(shop(ABC), NOON, 0);
        const asks = {
          affinity: BY_TOKEN,
          policy,
          connection: connection(`tls ${name}`),
          chance: index / 30,
        };
        const chosen = choose(view, visit(asks));
        return { id: chosen.channel.id, token: String(tokenOf(view, chosen)), chosen };
      });
      const [first] = visits;
      const [one] = views;
      expect(new Set(visits.map(({ id }) => id)).size).toBe(1);
      expect(new Set(visits.map(({ chosen }) => chosen.grant?.sessionId)).size).toBe(1);
      expect(new Set(visits.map(({ token }) => one && sessionOf(one, token)))).toEqual(
        new Set([first?.chosen.grant?.sessionId]),
      );
      for (const view of views) {
        for (const { token } of visits) expect(placeOf(view, carrying(token))).toBe(first?.id);
      }
    }),
    { numRuns: 30 },
  );
});

it("begins another session for another connection, and one of its own for each client that shares an address", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const named = ["tls 1", "tls 2"].map((identity) => sessionOf(view, arrive(view, identity)));
  const shared = { identity: "address 192.0.2.1", isExact: false, from: "192.0.2.1 " };
  const asks = [visit({ affinity: BY_TOKEN, connection: shared }), visit({ affinity: BY_TOKEN })];
  const drawnIds = asks.flatMap((ask) =>
    [1, 2].map(() => sessionOf(view, String(tokenOf(view, choose(view, ask))))),
  );
  const sessions = [...named, ...drawnIds];
  for (const session of sessions) expect(session).toMatch(/^[0-9a-f]{16}$/);
  expect(new Set(sessions).size).toBe(sessions.length);
});

const OTHER_KEYS: TokenConfig = { ...TOKEN_CONFIG, id: 1, key: "7".repeat(32), macKey: "8".repeat(32) };

/** Old tokens are read, new ones are made under other keys. */
const ROTATED = { tokens: { writeId: 1, configs: [TOKEN_CONFIG, OTHER_KEYS], removed: [] } };

const STAYS: readonly (readonly [string, Snapshot])[] = [
  ["nothing changed", shop(ABC)],
  ["a backend was added", shop({ ...ABC, d: 1_000 })],
  ["weights changed", shop({ a: 1_000, b: 1, c: 7 })],
  ["weights fell to nothing", shop({ a: "sticky", b: "sticky", c: "sticky", d: 1 })],
  ["a backend drains", shop({ a: "sticky", b: 1, c: 1 })],
  ["all drain", shop({ a: "sticky", b: "sticky", c: "sticky" })],
  ["keys were rotated", shop(ABC, {}, ROTATED)],
  ["the pool hashes under another secret", shop(ABC, {}, { secret: "f".repeat(32) })],
];

it.each(STAYS)("leads a token to its backend in every isolate, old or new, when %s", (_, next) => {
  const old = new PoolView(shop(ABC), NOON, 0);
  const tokens = arriveAll(old);
  const before = tokens.map((token) => placeOf(old, carrying(token)));
  expect(new Set(before).size).toBe(3);
  old.adopt(next, NOON, 0);
  for (const view of [old, new PoolView(next, NOON, 0.7)]) {
    for (const policy of ["round_robin", "rendezvous"] as const) {
      const visits = tokens.map((token) => choose(view, carrying(token, { policy, chance: 0.4 })));
      expect(visits.map(({ channel }) => channel.id)).toEqual(before);
      for (const visited of visits) expect(visited).toMatchObject(KEPT);
    }
  }
});

it("knows a session by its token, on whichever connection it comes", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = arrive(view, "tls 1");
  const place = placeOf(view, carrying(token));
  const others = Array.from({ length: 30 }, (_, index) => connection(`tls other ${index}`));
  for (const other of others) expect(placeOf(view, carrying(token, { connection: other }))).toBe(place);
});

const ADMITS = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom<Admits>("sticky", "none"));
const HISTORY = fc.array(
  fc.dictionary(fc.constantFrom("a", "b", "c", "d"), ADMITS, { noNullPrototype: true }),
  {
    minLength: 1,
    maxLength: 12,
  },
);

// The promise that live sessions stay, over random histories and isolates that start anew in the middle of them.
it("moves a session only while its backend is gone or admits nothing, in any history", () => {
  const first = new PoolView(shop({ a: 1, b: 1, c: 1, d: 1 }), NOON, 0);
  const tokens = arriveAll(first, 40);
  const homes = tokens.map((token) => placeOf(first, carrying(token)));
  fc.assert(
    fc.property(HISTORY, fc.boolean(), (history, isRestarted) => {
      let view = new PoolView(shop({ a: 1, b: 1, c: 1, d: 1 }), NOON, 0);
      for (const backends of history) {
        const next = shop(backends, { lost: { drained: "temporary", removed: "temporary" } });
        if (isRestarted) view = new PoolView(next, NOON, 0.3);
        else view.adopt(next, NOON, 0.3);
        const admits = new Map<string, Admits>(next.backends.map((each) => [each.id, each.admits]));
        const isOpen = next.backends.some((each) => each.admits === "new");
        tokens.forEach((token, index) => {
          const home = homes[index] ?? "";
          const isHome = (admits.get(home) ?? "none") !== "none";
          const to = placeOf(view, carrying(token));
          expect(isHome ? to : home).toBe(home);
          expect(isHome || (isOpen ? admits.get(to) === "new" : to === "no_backend")).toBe(true);
        });
      }
    }),
    { numRuns: 200 },
  );
});

/** How a backend `b` is lost, and the cause that is counted and configured. */
const LOSSES: readonly (readonly ["drained" | "removed" | "ejected", Backends])[] = [
  ["drained", { a: 1, b: "none", c: 1 }],
  ["ejected", { a: 1, b: { admits: "none", isEjected: true }, c: 1 }],
  ["removed", { a: 1, c: 1 }],
];

it.each(LOSSES)(
  "serves the sessions of a backend that was %s elsewhere under `temporary`, until it is back",
  (cause, left) => {
    const rule = { lost: { [cause]: "temporary" } };
    const view = new PoolView(shop(ABC, rule), NOON, 0);
    const token = tokenFor(view, "b");
    view.adopt(shop(left, rule), NOON, 0);
    for (const _ of [1, 2]) {
      const moved = choose(view, carrying(token));
      expect(moved).toMatchObject({ fate: cause, grant: null });
      expect(moved.inheritance?.sessionId).toBe(sessionOf(view, token));
      expect(moved.channel.id).not.toBe("b");
    }
    view.adopt(shop(ABC, rule), NOON, 0);
    expect(placeOf(view, carrying(token))).toBe("b");
    expect(choose(view, carrying(token))).toMatchObject(KEPT);
  },
);

it.each(LOSSES)(
  "moves the sessions of a backend that was %s for good under `sticky`, with a new token each",
  (cause, left) => {
    const rule = { lost: { [cause]: "sticky" } };
    const view = new PoolView(shop(ABC, rule), NOON, 0);
    const token = tokenFor(view, "b");
    const sessionId = sessionOf(view, token);
    view.adopt(shop(left, rule), NOON, 0);
    const laterMs = after(NOON, HOUR_MS);
    const moved = choose(view, carrying(token, { nowMs: laterMs }));
    expect(moved).toMatchObject({
      fate: cause,
      grant: { sessionId, startedMs: laterMs },
      inheritance: { sessionId },
    });
    const reissued = String(tokenOf(view, moved, laterMs));
    expect(sessionOf(view, reissued)).toBe(sessionId);
    view.adopt(shop({ ...ABC, d: 5 }, rule), NOON, 0);
    for (const each of [view, new PoolView(shop(ABC, rule), NOON, 0.5)]) {
      const next = choose(each, carrying(reissued, { nowMs: laterMs }));
      expect(next).toMatchObject(KEPT);
      expect(next.channel.id).toBe(moved.channel.id);
    }
  },
);

it.each(LOSSES)(
  "refuses the sessions of a backend that was %s under `refuse`, and nobody else's",
  (cause, left) => {
    const rule = { lost: { [cause]: "refuse" } };
    const view = new PoolView(shop(ABC, rule), NOON, 0);
    const lost = tokenFor(view, "b");
    const other = tokenFor(view, "a");
    view.adopt(shop(left, rule), NOON, 0);
    expect(view.choose(carrying(lost))).toEqual({ kind: "session_refused" });
    expect(view.channels().map(({ inFlight }) => inFlight)).toEqual(Object.keys(left).map(() => 0));
    expect(choose(view, carrying(other))).toMatchObject(KEPT);
    expect(arrive(view, "tls new")).toMatch(/^[\w-]+$/);
    view.adopt(shop(ABC, rule), NOON, 0);
    expect(choose(view, carrying(lost))).toMatchObject(KEPT);
  },
);

it("lets the sessions of an ejected backend come back to it by default, and those of a drained one not", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = tokenFor(view, "b");
  view.adopt(shop({ a: 1, b: { admits: "none", isEjected: true }, c: 1 }), NOON, 0);
  expect(choose(view, carrying(token))).toMatchObject({ fate: "ejected", grant: null });
  view.adopt(shop({ a: 1, b: "none", c: 1 }), NOON, 0);
  expect(choose(view, carrying(token)).grant).not.toBeNull();
  view.adopt(shop(ABC), NOON, 0);
  expect(choose(view, carrying(token))).toMatchObject({ ...KEPT, channel: { id: "b" } });
});

it("lets each cause have its own rule, and keeps what has drained or was removed moved by default", () => {
  const rule = { lost: { drained: "refuse", removed: "temporary" } };
  const view = new PoolView(shop(ABC, rule), NOON, 0);
  const [b, c] = [tokenFor(view, "b"), tokenFor(view, "c")];
  view.adopt(shop({ a: 1, b: "none" }, rule), NOON, 0);
  expect(placeOf(view, carrying(b))).toBe("session_refused");
  expect(choose(view, carrying(c))).toMatchObject({ fate: "removed", grant: null });
  view.adopt(shop({ a: 1, b: "none" }), NOON, 0);
  expect(choose(view, carrying(b)).grant).not.toBeNull();
  expect(choose(view, carrying(c)).grant).not.toBeNull();
});

it("has no backend for a lost session where nobody takes anything new", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = tokenFor(view, "b");
  view.adopt(shop({ a: "sticky", b: "none", c: "none" }), NOON, 0);
  expect(view.choose(carrying(token))).toEqual({ kind: "no_backend" });
});

it.each(LOSSES)(
  "leads parallel requests with one token of a backend that was %s together, in every isolate",
  (_, left) => {
    const old = new PoolView(shop(ABC), NOON, 0);
    const lost = arriveAll(old, 200).filter((token) => placeOf(old, carrying(token)) === "b");
    old.adopt(shop({ ...left, d: 1 }), NOON, 0);
    const views = [old, ...[0.2, 0.8].map((chance) => new PoolView(shop({ ...left, d: 1 }), NOON, chance))];
    const heirs = lost.map((token) => {
      const places = views.flatMap((view, index) =>
        (["round_robin", "rendezvous"] as const).map((policy) =>
          placeOf(
            view,
            carrying(token, { policy, chance: index / 3, connection: connection(`tls ${policy} ${index}`) }),
          ),
        ),
      );
      expect(new Set(places).size).toBe(1);
      return places[0];
    });
    expect(new Set(heirs)).toEqual(new Set(["a", "c", "d"]));
  },
);

it("tells the heir whose session it was, on every request with the old token and on none with the new", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = tokenFor(view, "b");
  const sessionId = sessionOf(view, token);
  for (const next of [shop({ a: 1, b: "none", c: 1 }), shop({ a: 1, c: 1 })]) {
    view.adopt(next, NOON, 0);
    const visits = [1, 2, 3].map(() => choose(view, carrying(token)));
    for (const { inheritance } of visits) expect(inheritance).toEqual({ sessionId, previous: "b" });
    const reissued = visits.map((visited) => String(tokenOf(view, visited)));
    for (const each of reissued) expect(choose(view, carrying(each)).inheritance).toBeNull();
  }
});

it("takes a backend that was added again under another server id for another", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = tokenFor(view, "b");
  const again = shop(ABC);
  const renumbered = again.backends.map((each) => (each.id === "b" ? { ...each, serverId: 99 } : each));
  const removed = [{ serverId: SERVER_IDS.indexOf("b"), id: backendId("b") }];
  view.adopt({ ...again, backends: renumbered, tokens: { ...again.tokens, removed } }, NOON, 0);
  expect(choose(view, carrying(token))).toMatchObject({ fate: "removed", inheritance: { previous: "b" } });
});

// What happened: a client got a token of a new backend from one isolate, came to another that had not heard of the backend
// yet, and was moved for good.
it("leaves the token alone of a backend that is newer than the snapshot", () => {
  const [ahead, behind] = [new PoolView(shop(ABC), NOON, 0), new PoolView(shop(ABC), NOON, 0)];
  const token = tokenFor(ahead, "b");
  const before = shop({ a: 1, c: 1 });
  behind.adopt({ ...before, tokens: { ...before.tokens, removed: [] } }, NOON, 0);
  const served = choose(behind, carrying(token));
  expect(served).toMatchObject({ fate: "unknown", grant: null, inheritance: null });
  expect(placeOf(behind, carrying(token, { connection: connection("tls other") }))).toBe(served.channel.id);
  behind.adopt(shop(ABC), NOON, 0);
  expect(placeOf(behind, carrying(token))).toBe("b");
});

it("counts a migration of whoever carries a token once per change, and leaves it where it is", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = arrive(view, "tls phone");
  const by = (from: string): Chosen =>
    choose(view, carrying(token, { connection: connection("tls phone", from) }));
  const home = by("192.0.2.1 FRA").channel;
  const came = ["192.0.2.1 FRA", "198.51.100.7 FRA", "198.51.100.7 FRA", "198.51.100.7 CDG"].map(by);
  expect(came.map(({ hasMigrated }) => hasMigrated)).toEqual([false, true, false, true]);
  expect(new Set(came.map(({ channel }) => channel))).toEqual(new Set([home]));
  const another = carrying(token, { connection: connection("tls another", "203.0.113.9 JFK") });
  expect(choose(view, another).hasMigrated).toBe(false);
});

/** The same token with one character changed for another of the alphabet. */
function edited(token: string, at: number): string {
  return token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
}

it("counts what cannot be read as what it is, and gives a new token for all but what others may read", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = arrive(view, "tls 1");
  const stranger = new PoolView(
    shop(ABC, {}, { tokens: { writeId: 1, configs: [OTHER_KEYS], removed: [] } }),
    NOON,
    0,
  );
  const elsewhere = new PoolView(shop(ABC, {}, { pool: poolName("other") }), NOON, 0);
  const cases: readonly (readonly [string, EpochMs, SessionFate])[] = [
    [edited(token, 30), NOON, "invalid"],
    ["nonsense", NOON, "invalid"],
    [`${token}=`, NOON, "invalid"],
    [arrive(elsewhere, "tls 1"), NOON, "invalid"],
    [token, after(NOON, LIFETIME_MS), "expired"],
    [arrive(stranger, "tls 1"), NOON, "unknown"],
  ];
  for (const [text, nowMs, fate] of cases) {
    const visited = choose(view, carrying(text, { nowMs, connection: connection("tls 1") }));
    const isReplaced = fate !== "unknown";
    expect({ ...visited, hasGrant: visited.grant !== null }).toMatchObject({
      fate,
      inheritance: null,
      hasGrant: isReplaced,
    });
  }
  expect(choose(view, carrying(token, { nowMs: after(NOON, LIFETIME_MS - 1) })).fate).toBe("kept");
});

it("leads a token of unknown keys to one place in every isolate, and back when the keys are known", () => {
  const knowing = new PoolView(shop(ABC, {}, ROTATED), NOON, 0);
  const tokens = arriveAll(knowing);
  const homes = tokens.map((token) => placeOf(knowing, carrying(token)));
  const views = [0.1, 0.5, 0.9].map((chance) => new PoolView(shop(ABC), NOON, chance));
  const places = views.map((view, index) =>
    tokens.flatMap((token) =>
      [0, 1].map(() => {
        const visited = choose(view, carrying(token, { affinity: TOKEN, chance: index / 3 }));
        expect(visited).toMatchObject({ fate: "unknown", grant: null });
        return visited.channel.id;
      }),
    ),
  );
  expect(places[1]).toEqual(places[0]);
  expect(places[2]).toEqual(places[0]);
  expect(new Set(places[0]).size).toBe(3);
  for (const view of views) {
    view.adopt(shop(ABC, {}, ROTATED), NOON, 0);
    expect(tokens.map((token) => placeOf(view, carrying(token)))).toEqual(homes);
  }
});

/** A request that carries several tokens, in cookies of one name. */
function carryingAll(texts: readonly string[]): Choosing {
  const cookie = texts.map((text) => `__Host-ring-shop=${text}`).join("; ");
  return visit({ affinity: BY_TOKEN, headers: { cookie } });
}

it("goes by the readable one of several tokens, and replaces none while one is of unknown keys", () => {
  const inBoth = shop(ABC).config;
  const config = { ...inBoth, tokens: { ...inBoth.tokens, cookie: poolConfig({}).tokens.cookie } };
  const view = new PoolView(shop(ABC, {}, { config }), NOON, 0);
  const stranger = new PoolView(shop(ABC, {}, ROTATED), NOON, 0);
  const plain = new PoolView(shop(ABC), NOON, 0);
  const [good, unknown] = [tokenFor(plain, "b"), arrive(stranger, "tls 1")];
  for (const texts of [
    [good, "junk"],
    ["junk", good],
    [unknown, good],
    [good, unknown],
  ]) {
    expect(choose(view, carryingAll(texts))).toMatchObject({ fate: "kept", channel: { id: "b" } });
  }
  for (const texts of [
    ["junk", unknown],
    [unknown, "junk"],
  ]) {
    expect(choose(view, carryingAll(texts))).toMatchObject({ fate: "unknown", grant: null });
  }
});

it("leads no token that was changed in any character to a backend as its own", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = arrive(view, "tls 1");
  const fates = Array.from(token, (_, at) => choose(view, carrying(edited(token, at))).fate);
  expect(fates.filter((fate) => fate !== "invalid" && fate !== "unknown")).toEqual([]);
});

it("renews a token when half of its life is over, and not before", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = arrive(view, "tls 1");
  const home = placeOf(view, carrying(token));
  const halfMs = LIFETIME_MS / 2;
  for (const passedMs of [0, HOUR_MS, halfMs]) {
    expect(choose(view, carrying(token, { nowMs: after(NOON, passedMs) }))).toMatchObject(KEPT);
  }
  const laterMs = after(NOON, halfMs + 1);
  const renewed = choose(view, carrying(token, { nowMs: laterMs }));
  const grant = { sessionId: sessionOf(view, token), startedMs: NOON };
  expect(renewed).toMatchObject({ fate: "kept", grant, inheritance: null, channel: { id: home } });
  const fresh = String(tokenOf(view, renewed, laterMs));
  const lastMs = after(laterMs, LIFETIME_MS - 1_000);
  expect(choose(view, carrying(fresh, { nowMs: after(laterMs, halfMs - 1_000) }))).toMatchObject(KEPT);
  expect(choose(view, carrying(fresh, { nowMs: lastMs }))).toMatchObject({
    fate: "kept",
    channel: { id: home },
  });
});

it("renews the token of a session that is served elsewhere for now, for the backend that it will come back to", () => {
  const rule = { lost: { drained: "temporary" } };
  const view = new PoolView(shop(ABC, rule), NOON, 0);
  const token = tokenFor(view, "b");
  view.adopt(shop({ a: 1, b: "none", c: 1 }, rule), NOON, 0);
  const nowMs = after(NOON, LIFETIME_MS - HOUR_MS);
  expect(choose(view, carrying(token))).toMatchObject({ fate: "drained", grant: null });
  const away = choose(view, carrying(token, { nowMs }));
  expect(away).toMatchObject({
    fate: "drained",
    grant: { sessionId: sessionOf(view, token), startedMs: NOON },
  });
  const renewed = String(tokenOf(view, away, nowMs));
  view.adopt(shop(ABC, rule), NOON, 0);
  expect(placeOf(view, carrying(renewed, { nowMs: after(NOON, LIFETIME_MS) }))).toBe("b");
});

const AGED = { maxAgeMs: HOUR_MS };

it("places a session anew when it is older than it may be, alike in every isolate, so that newcomers get a share", () => {
  const old = new PoolView(shop(ABC, AGED), NOON, 0);
  const tokens = arriveAll(old, 200);
  const grown = shop({ ...ABC, d: 1, e: 1 }, AGED);
  old.adopt(grown, NOON, 0);
  const youngMs = after(NOON, HOUR_MS);
  const before = tokens.map((token) => choose(old, carrying(token, { nowMs: youngMs })));
  for (const visited of before) expect(visited).toMatchObject(KEPT);
  const nowMs = after(NOON, HOUR_MS + 1);
  const [here, there] = [old, new PoolView(grown, NOON, 0.6)].map((view) =>
    tokens.map((token) => choose(view, carrying(token, { nowMs, chance: 0.3 }))),
  );
  expect(there?.map(({ channel }) => channel.id)).toEqual(here?.map(({ channel }) => channel.id));
  expect(new Set(here?.map(({ channel }) => channel.id))).toEqual(new Set(["a", "b", "c", "d", "e"]));
  const movers = here?.filter(({ fate }) => fate === "repinned") ?? [];
  expect(new Set(movers.map(({ channel }) => channel.id))).toEqual(new Set(["d", "e"]));
  // Four standard deviations of 200 draws with a chance of 2 in 5.
  expect(Math.abs(movers.length - 80)).toBeLessThan(28);
  here?.forEach((visited, index) => {
    const home = before[index]?.channel.id;
    const hasMoved = visited.channel.id !== home;
    const sessionId = sessionOf(old, tokens[index] ?? "");
    expect(visited).toMatchObject({
      fate: hasMoved ? "repinned" : "kept",
      grant: { sessionId, startedMs: nowMs },
      inheritance: hasMoved ? { sessionId, previous: home } : null,
    });
  });
});

it("begins a session's age anew with the token it gets, so that it is placed anew once", () => {
  const view = new PoolView(shop(ABC, AGED), NOON, 0);
  const token = arrive(view, "tls 1");
  const nowMs = after(NOON, HOUR_MS + 1_000);
  const moved = choose(view, carrying(token, { nowMs }));
  const next = String(tokenOf(view, moved, nowMs));
  const again = choose(view, carrying(next, { nowMs: after(nowMs, HOUR_MS) }));
  expect(again).toMatchObject({ ...KEPT, channel: { id: moved.channel.id } });
});

it("places a session anew that has sent as many requests as it may, counted by token", () => {
  const view = new PoolView(shop(ABC, { maxRequests: 3 }), NOON, 0);
  const [token, other] = [arrive(view, "tls 1"), arrive(view, "tls 2")];
  const grants = (text: string, times: number) =>
    Array.from({ length: times }, () => choose(view, carrying(text)).grant !== null);
  expect(grants(token, 2)).toEqual([false, false]);
  expect(grants(other, 1)).toEqual([false]);
  view.adopt(shop(ABC, { maxRequests: 3 }), NOON, 0);
  expect(grants(token, 2)).toEqual([false, true]);
  const next = String(tokenOf(view, choose(view, carrying(token))));
  expect(grants(next, 4)).toEqual([false, false, false, true]);
});

it("never places an old session anew on a backend that drains, and leaves it where it is if there is nobody else", () => {
  const view = new PoolView(shop(ABC, AGED), NOON, 0);
  const tokens = arriveAll(view);
  const nowMs = after(NOON, 2 * HOUR_MS);
  const homes = tokens.map((token) => placeOf(view, carrying(token)));
  view.adopt(shop({ a: 1, b: "sticky", c: 1, d: "sticky", e: 1 }, AGED), NOON, 0);
  const places = tokens.map((token) => placeOf(view, carrying(token, { nowMs })));
  expect(places.filter((place, index) => place !== homes[index])).toContain("e");
  expect(places).not.toContain("d");
  view.adopt(shop({ a: "sticky", b: "sticky", c: "sticky" }, AGED), NOON, 0);
  for (const token of tokens) {
    const home = placeOf(view, carrying(token));
    const stays = choose(view, carrying(token, { nowMs }));
    expect(stays).toMatchObject({ fate: "kept", inheritance: null, channel: { id: home } });
  }
});

const REGIONAL: TokenConfig = { ...TOKEN_CONFIG, generator: "regional" };

/** Backends by region, in a pool whose tokens tell it. */
function regional(regions: Readonly<Record<string, string | null>>, gone: readonly string[] = []): Snapshot {
  const told = shop(
    Object.fromEntries(Object.keys(regions).map((id) => [id, gone.includes(id) ? "none" : 1])),
  );
  const backends = told.backends.map(
    (backend): SnapshotBackend => ({ ...backend, region: regions[backend.id] ?? null }),
  );
  return { ...told, backends, tokens: { ...told.tokens, configs: [REGIONAL] } };
}

const REGIONS = { a: "eu", b: "eu", c: "us", d: "us", e: "us", f: null };

it("leads a lost session to a backend of its region, while there is one", () => {
  const view = new PoolView(regional(REGIONS), NOON, 0);
  const tokens = arriveAll(view, 120);
  const homes = tokens.map((token) => placeOf(view, carrying(token)));
  expect(new Set(homes).size).toBe(6);
  const heirsOf = (id: string, next: Snapshot) => {
    const isolates = [view, new PoolView(next, NOON, 0.5)];
    view.adopt(next, NOON, 0);
    const lost = tokens.filter((_, index) => homes[index] === id);
    const [here, there] = isolates.map((each) => lost.map((token) => placeOf(each, carrying(token))));
    expect(there).toEqual(here);
    return new Set(here);
  };
  expect(heirsOf("a", regional(REGIONS, ["a"]))).toEqual(new Set(["b"]));
  expect(heirsOf("c", regional(REGIONS, ["c"]))).toEqual(new Set(["d", "e"]));
  expect(heirsOf("a", regional({ b: "eu", c: "us", d: "us" }))).toEqual(new Set(["b"]));
  expect(heirsOf("a", regional({ c: "us", d: "us" })).size).toBe(2);
  expect(heirsOf("f", regional(REGIONS, ["f"])).size).toBeGreaterThan(2);
});

it("grants nothing where the chain does not come to its token step", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = tokenFor(view, "b");
  const user = { by: "header", name: "x-user" } as const;
  const headers = { "ring-token": token, "x-user": "u" };
  const unread = { fate: null, grant: null, inheritance: null };
  const byUser = choose(view, visit({ affinity: [user, ...BY_TOKEN], headers }));
  expect(byUser).toMatchObject(unread);
  const last: Affinity = [{ by: "connection" }, { by: "token" }];
  expect(choose(view, visit({ affinity: last, headers, connection: connection("tls 9") }))).toMatchObject(
    unread,
  );
  for (const affinity of [[], [user], [{ by: "connection" }]] satisfies readonly Affinity[]) {
    expect(choose(view, visit({ affinity, headers }))).toMatchObject(unread);
    expect(choose(view, visit({ affinity, connection: connection("tls 9") }))).toMatchObject(unread);
  }
  expect(choose(view, visit({ affinity: last, headers }))).toMatchObject({ ...KEPT, channel: { id: "b" } });
  expect(choose(view, visit({ affinity: [user, ...TOKEN] })).grant).not.toBeNull();
});

it("counts a migration of a connection that gets its first token, and gives it one", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const from = (place: string) =>
    choose(view, visit({ affinity: BY_TOKEN, connection: connection("tls 1", place) }));
  const [first, second] = [from("192.0.2.1 FRA"), from("192.0.2.2 FRA")];
  expect([first.hasMigrated, second.hasMigrated]).toEqual([false, true]);
  expect(second.channel).toBe(first.channel);
  expect(second.grant).toMatchObject({ backend: first.channel.backend });
});

it("moves no old session while the pool stays as it was", () => {
  const view = new PoolView(shop(ABC, AGED), NOON, 0);
  for (const token of arriveAll(view, 100)) {
    const visited = choose(view, carrying(token, { nowMs: after(NOON, 2 * HOUR_MS) }));
    expect(visited).toMatchObject({
      fate: "kept",
      inheritance: null,
      channel: { id: placeOf(view, carrying(token)) },
    });
  }
});

it("knows what a request holds of its tokens, where the route or else the pool asks for one", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const holding = (token: string, affinity?: Affinity, nowMs = NOON) =>
    view.tokenOf(new Headers({ "ring-token": token }), affinity, nowMs);
  const token = arrive(view, "tls 1");
  expect(view.hasTokens).toBe(true);
  expect(holding(token)).toBe("opened");
  expect(holding(token, TOKEN)).toBe("opened");
  expect(holding(token, [{ by: "connection" }])).toBeNull();
  expect(holding(edited(token, 30))).toBeNull();
  expect(holding(token, undefined, after(NOON, LIFETIME_MS))).toBeNull();
  expect(view.tokenOf(new Headers(), undefined, NOON)).toBeNull();
  const other = new PoolView(shop(ABC, {}, { pool: poolName("other") }), NOON, 0);
  expect(other.tokenOf(new Headers({ "ring-token": token }), undefined, NOON)).toBeNull();
  view.adopt(shop(ABC, {}, { config: poolConfig({ tokens: IN_HEADER }) }), NOON, 0);
  expect(view.hasTokens).toBe(false);
  expect(holding(token)).toBeNull();
  expect(holding(token, TOKEN)).toBe("opened");
});

it("counts every request with a token as in flight where it goes", () => {
  const view = new PoolView(shop(ABC), NOON, 0);
  const token = tokenFor(view, "b");
  for (const _ of [1, 2]) view.choose(carrying(token));
  expect(view.channels().map(({ id, inFlight }) => `${id} ${inFlight}`)).toEqual(["a 0", "b 2", "c 0"]);
});

it.each(["temporary", "sticky", "refuse"])(
  "is served elsewhere this once when a request of its has failed at a backend that is well: %s",
  (ejected) => {
    const view = new PoolView(shop({ a: 1, b: 1, c: 1 }, { lost: { ejected } }), NOON, 0);
    const token = tokenFor(view, "a");
    const retry = choose(view, carrying(token, { tried: new Set([backendId("a")]) }));
    expect(retry).toMatchObject({ fate: "ejected", grant: null });
    expect(retry.channel.id).not.toBe("a");
    expect(placeOf(view, carrying(token))).toBe("a");
  },
);

it("is tried nowhere twice, also when this isolate skips everybody else", () => {
  const view = new PoolView(shop({ a: 1, b: 1 }), NOON, 0);
  const token = tokenFor(view, "a");
  const [, other] = view.channels();
  for (let failures = 0; failures < 3; failures++) other?.count("unreachable", AT_ONCE);
  expect(other?.isSkipped(NOON)).toBe(true);
  expect(placeOf(view, carrying(token, { tried: new Set([backendId("a")]) }))).toBe("b");
});

it.each([
  ["led to another one", "is well", 1, "b"],
  ["refused", "is ejected, too", { admits: "none", isEjected: true }, "session_refused"],
] as const)("is %s at last, where lost sessions are refused, if its backend %s", (_, _state, home, place) => {
  const refusing = { lost: { ejected: "refuse" } };
  const view = new PoolView(shop({ a: 1, b: 1 }, refusing), NOON, 0);
  const token = tokenFor(view, "a");
  view.adopt(
    shop({ a: home, b: { admits: "none", isEjected: true, isLastResort: true } }, refusing),
    NOON,
    0,
  );
  const last = view.chooseLast(carrying(token, { tried: new Set([backendId("a")]) }));
  expect(last.kind === "backend" ? last.channel.id : last.kind).toBe(place);
});
