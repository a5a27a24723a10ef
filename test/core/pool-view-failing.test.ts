import { describe, expect, it } from "vitest";
import { after } from "../../durable/model/time.ts";
import type { Choosing } from "../../worker/core/choice.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { backendId, NOON, snapshot } from "./support/build.ts";
import { choose, connection, placeOf, poolConfig, visit } from "./support/visit.ts";

/** A view whose isolate has seen these backends refuse three connections each. */
function failing(
  ids: readonly string[],
  view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0),
): PoolView {
  for (const channel of view.channels().filter(({ id }) => ids.includes(id))) {
    for (let failure = 0; failure < 3; failure++) {
      channel.begin(NOON);
      channel.count("unreachable", { waitedMs: 1, timeoutMs: 15_000, isUnhindered: true, nowMs: NOON });
      channel.end();
    }
  }
  return view;
}

function places(view: PoolView, choosing: Choosing, count: number): string {
  return Array.from({ length: count }, () => placeOf(view, choosing)).join("");
}

it("leads free requests past a backend that has just failed, and the turns go on among the others", () => {
  expect(places(failing(["b"]), visit(), 6)).toBe("acacac");
});

it("lets one request try it when its time is up, and all of them once it has answered", () => {
  const view = failing(["b"]);
  const later = visit({ nowMs: after(NOON, 1_000) });
  const trying = [1, 2, 3]
    .map(() => view.choose(later))
    .find((choice) => choice.kind === "backend" && choice.channel.id === "b");
  if (trying?.kind !== "backend") throw new Error("nobody tries b");
  expect(places(view, later, 10)).not.toContain("b");
  trying.channel.count("answered", {
    waitedMs: 5,
    timeoutMs: 15_000,
    isUnhindered: true,
    nowMs: after(NOON, 1_005),
  });
  trying.channel.end();
  expect(places(view, later, 6)).toContain("b");
});

it("chooses anyway when everybody has failed, and says so", () => {
  const choice = choose(failing(["a", "b", "c"]), visit());
  expect(choice.isDesperate).toBe(true);
  expect(choose(failing(["a", "b"]), visit()).isDesperate).toBe(false);
});

describe("what is bound to a backend that has just failed", () => {
  const BY_CONNECTION = [{ by: "connection" }] as const;
  const CONNECTIONS = Array.from({ length: 60 }, (_, index) => `tls ${index}`);

  it("is served elsewhere, each connection in one place, and comes back with it", () => {
    const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
    const placed = (laterMs: number): readonly string[] =>
      CONNECTIONS.map((identity) =>
        placeOf(
          view,
          visit({ affinity: BY_CONNECTION, connection: connection(identity), nowMs: after(NOON, laterMs) }),
        ),
      );
    const before = placed(0);
    failing(["b"], view);
    const meanwhile = placed(0);
    expect(meanwhile).not.toContain("b");
    expect(placed(0)).toEqual(meanwhile);
    expect(meanwhile.filter((_, index) => before[index] !== "b")).toEqual(before.filter((id) => id !== "b"));
    view
      .channels()
      .find(({ id }) => id === backendId("b"))
      ?.count("answered", { waitedMs: 1, timeoutMs: 1, isUnhindered: true, nowMs: after(NOON, 10) });
    expect(placed(0)).toEqual(before);
  });

  it("stays where it is when everybody has failed", () => {
    const view = new PoolView(snapshot({ a: 1, b: 1, c: 1 }), NOON, 0);
    const place = (): string =>
      placeOf(view, visit({ affinity: BY_CONNECTION, connection: connection("tls 1") }));
    const before = place();
    failing(["a", "b", "c"], view);
    expect(place()).toBe(before);
  });

  it("is led on by every hashing scheme to the same other backend in every isolate", () => {
    const chain = [{ by: "header", name: "x-user" }] as const;
    for (const policy of ["round_robin", "rendezvous", "maglev", "ring_hash"] as const) {
      const config = poolConfig({ policy, affinity: chain });
      const views = [0.1, 0.9].map((chance) =>
        failing(["a"], new PoolView(snapshot({ a: 1, b: 1, c: 1 }, { config }), NOON, chance)),
      );
      const [one, other] = views.map((view) =>
        CONNECTIONS.map((value) =>
          placeOf(view, visit({ policy, affinity: chain, headers: { "x-user": value } })),
        ),
      );
      expect(one).toEqual(other);
      expect(one).not.toContain("a");
    }
  });
});
