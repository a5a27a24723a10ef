import * as fc from "fast-check";
import { expect, it } from "vitest";
import { parse } from "../../durable/model/parse.ts";
import { Sketch } from "../../durable/model/sketch.ts";
import type { Admits, Snapshot } from "../../durable/model/snapshot.ts";
import { SyncRequestSchema } from "../../durable/model/sync.ts";
import { after } from "../../durable/model/time.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { TOKEN_RANDOM_BYTES } from "../../worker/core/sessions.ts";
import { Tally } from "../../worker/core/tally.ts";
import { AT_ONCE, backendId, NOON, snapshot } from "./support/build.ts";
import { choose, connection, poolConfig, visit } from "./support/visit.ts";

const HOUR_MS = 3_600_000;
const AFFINITY = [{ by: "token" }, { by: "connection" }] as const;

/** A snapshot of a pool with sessions, whose tokens travel in a header, by what each backend admits. */
function shop(backends: Readonly<Record<string, Admits>>, sessions: object = {}): Snapshot {
  const tokens = { cookie: null, header: "ring-token", lifetimeMs: 24 * HOUR_MS };
  return snapshot(backends, { config: poolConfig({ affinity: AFFINITY, tokens, sessions }) });
}

/** One isolate, and clients that keep tokens. */
class Edge {
  readonly tally = new Tally();
  readonly view: PoolView;
  #drawn = 0;

  constructor(published: Snapshot) {
    this.view = new PoolView(published, NOON, 0);
  }

  /** One request and its answer: who served it, and the token that the client holds afterwards. */
  serve(token: string | null, identity: string | null = null, nowMs = NOON) {
    const chosen = choose(
      this.view,
      visit({
        affinity: AFFINITY,
        nowMs,
        headers: token === null ? {} : { "ring-token": token },
        connection: identity === null ? null : connection(identity),
      }),
    );
    chosen.channel.count("answered", AT_ONCE);
    this.#drawn++;
    const random = new Uint8Array(TOKEN_RANDOM_BYTES).fill(this.#drawn & 255).fill(this.#drawn >>> 8, 0, 4);
    const [header] = this.view.issue(chosen, nowMs, random);
    return { backend: chosen.channel.id, token: header?.[1] ?? token, fate: chosen.fate };
  }

  /** What the next report says, by backend, that has sessions. */
  report(): Readonly<Record<string, string>> {
    const report = this.tally.take(this.view.channels(), NOON);
    this.tally.acknowledge(report.batch);
    return Object.fromEntries(
      report.backends.flatMap(({ id, sessionSketch }) =>
        sessionSketch === undefined ? [] : [[id, sessionSketch] as const],
      ),
    );
  }

  /** The sessions that the next report tells of, by backend. */
  sessions(): Readonly<Record<string, number | undefined>> {
    return Object.fromEntries(
      Object.entries(this.report()).map(([id, text]) => [id, Sketch.parse(text)?.estimate()]),
    );
  }
}

it("counts a session when it begins and when it comes again, once in every report", () => {
  const edge = new Edge(shop({ a: "new" }));
  const { token } = edge.serve(null);
  edge.serve(token);
  edge.serve(token);
  edge.serve(null);
  expect(edge.sessions()).toEqual({ a: 2 });
  edge.serve(token);
  expect(edge.sessions()).toEqual({ a: 1 });
  expect(edge.sessions()).toEqual({});
});

it("has the same sketch of the same sessions in every isolate", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 20 }), (names) => {
      const [one, other] = [new Edge(shop({ a: "new" })), new Edge(shop({ a: "new" }))];
      const tokens = names.map((name) => one.serve(null, name).token);
      for (const token of tokens) other.serve(token);
      expect(other.report()).toEqual(one.report());
    }),
  );
});

it("counts a session once whose first requests came in parallel, on one connection", () => {
  const edge = new Edge(shop({ a: "new" }));
  for (let request = 0; request < 30; request++) edge.serve(null, "tls 1");
  expect(edge.sessions()).toEqual({ a: 1 });
});

it("counts no request without a session", () => {
  const edge = new Edge(snapshot({ a: "new" }, { config: poolConfig({ affinity: [{ by: "connection" }] }) }));
  const chosen = choose(
    edge.view,
    visit({ affinity: [{ by: "connection" }], connection: connection("tls 1") }),
  );
  chosen.channel.count("answered", AT_ONCE);
  expect(edge.view.issue(chosen, NOON, new Uint8Array(TOKEN_RANDOM_BYTES))).toEqual([]);
  expect(edge.sessions()).toEqual({});
});

it.each([
  ["sticky", { b: 1 }],
  ["temporary", {}],
] as const)("counts a session whose backend is lost where it lives: %s", (rule, expected) => {
  const lost = { lost: { drained: rule } };
  const edge = new Edge(shop({ a: "new", b: "sticky" }, lost));
  const { token } = edge.serve(null);
  edge.sessions();
  edge.view.adopt({ ...shop({ a: "none", b: "new" }, lost), version: 2 }, NOON, 0);
  // Late enough for a token of the backend that is away to be renewed by the one that helps out.
  const away = edge.serve(token, null, after(NOON, 20 * HOUR_MS));
  expect(away).toMatchObject({ backend: "b", fate: "drained" });
  expect(away.token).not.toBe(token);
  expect(edge.sessions()).toEqual(expected);
});

it("counts a session that is placed anew at its new backend", () => {
  const rules = { maxAgeMs: HOUR_MS };
  const edge = new Edge(shop({ a: "new" }, rules));
  const { token } = edge.serve(null);
  edge.sessions();
  const grown = shop({ a: "sticky", b: "new" }, rules);
  const [a, b] = grown.backends;
  if (a === undefined || b === undefined) throw new Error("there must be two backends");
  edge.view.adopt({ ...grown, backends: [a, { ...b, addedMs: after(NOON, 1_000) }] }, NOON, 0);
  expect(edge.serve(token, null, after(NOON, 2 * HOUR_MS))).toMatchObject({ backend: "b", fate: "repinned" });
  expect(edge.sessions()).toEqual({ b: 1 });
});

it("sends a sketch again, as it was, until it is acknowledged, and what comes meanwhile afterwards", () => {
  const edge = new Edge(shop({ a: "new" }));
  edge.serve(null, "tls 1");
  const sketchOf = () => edge.tally.take(edge.view.channels(), NOON).backends[0]?.sessionSketch;
  const first = sketchOf();
  edge.serve(null, "tls 2");
  expect(sketchOf()).toBe(first);
  edge.tally.acknowledge(0);
  const second = sketchOf();
  expect(second).toHaveLength(3);
  expect(second).not.toBe(first);
});

it("reports a session with an attempt that has come to something, and not before", () => {
  const edge = new Edge(shop({ a: "new" }));
  const { token } = edge.serve(null);
  edge.sessions();
  const asked = edge.view.choose(visit({ affinity: AFFINITY, headers: { "ring-token": String(token) } }));
  if (asked.kind !== "backend") throw new Error("there must be a backend");
  expect(edge.sessions()).toEqual({});
  asked.channel.count("answered", AT_ONCE);
  asked.channel.end();
  expect(edge.sessions()).toEqual({ a: 1 });
});

/** What is read of a report of a backend with this for a sketch. */
function read(sketch: unknown) {
  const backends = [{ id: "a", outcomes: { answered: 2 }, sessionSketch: sketch }];
  const report = { batch: 0, backends, protocols: {}, incidents: {} };
  const asked = { isolate: "isolate-1", seq: 0, incarnation: null, haveVersion: 0, report };
  const parsed = parse(SyncRequestSchema, asked);
  return parsed.ok ? parsed.value.report?.backends[0] : null;
}

it("reads what is reported, and takes a text that is no sketch for none, with all else that the report says", () => {
  expect(read("AAB")).toMatchObject({ id: backendId("a"), sessionSketch: "AAB" });
  for (const text of ["AA", "B".repeat(513), 7, null, {}, ["AAB"]]) {
    expect(read(text)).toMatchObject({ outcomes: { answered: 2 } });
    expect(read(text)?.sessionSketch).toBeUndefined();
  }
});
