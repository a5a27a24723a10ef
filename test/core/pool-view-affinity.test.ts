import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { Affinity } from "../../durable/model/pool.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { NOON, snapshot } from "./support/build.ts";
import { choose, connection, placeOf, poolConfig, visit } from "./support/visit.ts";

type Step = Affinity[number];

const TEN = snapshot(Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`b${index}`, 1])));

const CONNECTION = { by: "connection" } as const;
const HEADER = { by: "header", name: "x-user" } as const;
const COOKIE = { by: "cookie", name: "user" } as const;
const QUERY = { by: "query", name: "user" } as const;
const ADDRESS = { by: "address" } as const;
const STEPS: readonly Step[] = [CONNECTION, HEADER, COOKIE, QUERY, ADDRESS];

/** A request that has what the steps look at, of one user each. */
function having(steps: readonly Step[], user: number, affinity: Affinity, chance = 0) {
  const has = (by: Step["by"]) => steps.some((step) => step.by === by);
  return visit({
    affinity,
    chance,
    connection: has("connection") ? connection(`tls ${user}`) : null,
    headers: {
      ...(has("header") ? { "x-user": `h${user}` } : {}),
      ...(has("cookie") ? { cookie: `user=c${user}` } : {}),
    },
    query: has("query") ? `?user=q${user}` : "",
    clientAddress: has("address") ? `192.0.2.${user}` : null,
  });
}

const USERS = Array.from({ length: 60 }, (_, index) => index);

it.each<[Step]>(STEPS.map((step) => [step]))(
  "binds by %j alike in every isolate, and spreads what differs",
  (step) => {
    const places = [0.1, 0.9].map((chance) => {
      const view = new PoolView(TEN, NOON, chance);
      return USERS.map((user) => placeOf(view, having([step], user, [step], chance)));
    });
    expect(places[0]).toEqual(places[1]);
    expect(new Set(places[0]).size).toBeGreaterThan(7);
  },
);

it("is bound by the first step of the chain that a request has, in any order, whatever else it has", () => {
  const chain = fc.shuffledSubarray([...STEPS], { minLength: 1 });
  fc.assert(
    fc.property(chain, fc.subarray([...STEPS]), fc.nat({ max: 250 }), (affinity, has, user) => {
      const first = affinity.find((step) => has.includes(step));
      const alone = first === undefined ? [] : [first];
      const expected = placeOf(new PoolView(TEN, NOON, 0), having(alone, user, alone));
      expect(placeOf(new PoolView(TEN, NOON, 0), having(has, user, affinity))).toBe(expected);
    }),
    { numRuns: 500 },
  );
});

it("binds nobody who has nothing that the chain looks at", () => {
  const view = new PoolView(snapshot({ a: 1, b: 1 }), NOON, 0);
  const free = [1, 2, 3, 4].map(() => placeOf(view, having([], 1, STEPS)));
  expect(free).toEqual(["a", "b", "a", "b"]);
});

it("leads nobody new by a value to a backend that drains", () => {
  const view = new PoolView(snapshot({ a: "sticky", b: 1, c: "none" }), NOON, 0);
  for (const step of STEPS) {
    expect(new Set(USERS.map((user) => placeOf(view, having([step], user, [step]))))).toEqual(new Set(["b"]));
  }
});

it("moves by values only those of a backend that is gone", () => {
  const view = new PoolView(TEN, NOON, 0);
  const places = () => USERS.map((user) => placeOf(view, having([HEADER], user, [HEADER])));
  const before = places();
  view.adopt(snapshot(Object.fromEntries(TEN.backends.slice(1).map(({ id }) => [id, 1]))), NOON, 0);
  expect(places().map((to, index) => (before[index] === "b0" ? "b0" : to))).toEqual(before);
});

const TURN_TAKERS: readonly [string, Parameters<typeof visit>[0], Parameters<typeof visit>[0]][] = [
  ["among all", {}, {}],
  ["of a subset, and free ones among all", { subset: { label: "zone", value: "one", fallback: "none" } }, {}],
  [
    "of a subset, and free ones too",
    { subset: { label: "zone", value: "one", fallback: "none" } },
    { subset: { label: "zone", value: "one", fallback: "none" } },
  ],
  [
    "that a policy hashes, and free ones by the policy for those without key",
    { policy: "maglev" },
    { policy: "maglev" },
  ],
];

it.each(TURN_TAKERS)(
  "takes bound requests for turns of the round robin, so that free ones make up for them: %s",
  (_, boundAs, freeAs) => {
    const one = { labels: { zone: "one" } };
    const config = poolConfig({ keylessPolicy: "round_robin" });
    const view = new PoolView(snapshot({ a: one, b: one, c: one }, { config }), NOON, 0);
    const bound = visit({ affinity: [{ by: "connection" }], connection: connection("tls 1"), ...boundAs });
    const home = placeOf(view, bound);
    for (let request = 0; request < 9; request++) placeOf(view, bound);
    const free = Array.from({ length: 20 }, () => placeOf(view, visit(freeAs)));
    expect(free).not.toContain(home);
    expect(Array.from({ length: 3 }, () => placeOf(view, visit(freeAs))).toSorted()).toEqual(["a", "b", "c"]);
  },
);

it("takes a session's requests for turns though they ask for a subset that it is not in", () => {
  const config = poolConfig({ affinity: [{ by: "token" }], tokens: { cookie: null, header: "ring-token" } });
  const labels = { labels: { zone: "one" } };
  const view = new PoolView(snapshot({ a: labels, b: labels, c: 1 }, { config }), NOON, 0);
  const { affinity } = config;
  const first = [1, 2, 3]
    .map(() => choose(view, visit({ affinity })))
    .find(({ channel }) => channel.id === "c");
  const [header] = first?.grant ? view.sessions.write(first.grant, NOON, new Uint8Array(26)) : [];
  const subset = { label: "zone", value: "one", fallback: "none" } as const;
  const bound = visit({ affinity, headers: { "ring-token": header?.[1] ?? "" }, subset });
  expect(Array.from({ length: 5 }, () => placeOf(view, bound))).toEqual(["c", "c", "c", "c", "c"]);
  expect(Array.from({ length: 10 }, () => placeOf(view, visit()))).not.toContain("c");
});
