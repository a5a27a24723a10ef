import { describe, expect, it } from "vitest";
import type { BackendId } from "../../durable/model/names.ts";
import type { PoolConfig } from "../../durable/model/pool.ts";
import { unobserved } from "../../durable/state/health.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { backendId, NOON, pool, snapshot } from "./support/build.ts";
import { choose, connection, poolConfig, visit } from "./support/visit.ts";

const OUT = { admits: "none", isEjected: true, isLastResort: true } as const;
const GONE = { admits: "none" } as const;

function tried(...ids: readonly string[]): ReadonlySet<BackendId> {
  return new Set(ids.map(backendId));
}

function view(
  backends: Parameters<typeof snapshot>[0],
  told: Readonly<Record<string, unknown>> = {},
): PoolView {
  return new PoolView(snapshot(backends, { config: poolConfig(told) }), NOON, 0);
}

/** Where a request goes at last, and whether anybody is left. */
function last(from: PoolView, told: Parameters<typeof visit>[0]): readonly [string, boolean] {
  const choice = from.chooseLast(visit(told));
  const hasAny = from.hasLastResort(visit(told));
  if (choice.kind !== "backend") return [choice.kind, hasAny];
  choice.channel.end();
  return [choice.channel.id, hasAny];
}

describe("at last a request is tried", () => {
  it("at a backend that is out for its health alone, and that is no better than a panic", () => {
    const few = view({ a: 1, ill: OUT, drained: GONE });
    const choice = few.chooseLast(visit({ tried: tried("a") }));
    expect(choice).toMatchObject({ kind: "backend", isDesperate: true, grant: null });
    expect(few.channels().map(({ id, inFlight }) => [id, inFlight])).toEqual([
      ["a", 0],
      ["ill", 1],
      ["drained", 0],
    ]);
  });

  it("at each of them once, by chance", () => {
    const two = view({ a: 1, b: OUT, c: OUT });
    expect(last(two, { tried: tried("a"), chance: 0 })).toEqual(["b", true]);
    expect(last(two, { tried: tried("a"), chance: 0.99 })).toEqual(["c", true]);
    expect(last(two, { tried: tried("a", "b"), chance: 0 })).toEqual(["c", true]);
    expect(last(two, { tried: tried("a", "b", "c") })).toEqual(["no_backend", false]);
  });

  it("nowhere in a pool that never ignores health", () => {
    const strict = view({ a: 1, b: OUT }, { tiers: { panicThresholdPercent: 0 } });
    expect(last(strict, { tried: tried("a") })).toEqual(["no_backend", false]);
  });

  it("nowhere that is full", () => {
    const busy = view({ a: 1, b: OUT }, { maxInFlight: 1 });
    busy.chooseLast(visit({ tried: tried("a") }));
    expect(last(busy, { tried: tried("a") })).toEqual(["full", true]);
  });

  it("within its subset", () => {
    const labelled = view({ a: 1, b: { ...OUT, labels: { release: "new" } }, c: OUT });
    const ask = (value: string, fallback: "any" | "none") =>
      last(labelled, { tried: tried("a"), chance: 0.99, subset: { label: "release", value, fallback } });
    expect(ask("new", "none")).toEqual(["b", true]);
    expect(ask("old", "none")).toEqual(["no_backend", false]);
    expect(ask("old", "any")).toEqual(["c", true]);
  });
});

describe("a session", () => {
  const TOKENS = {
    affinity: [{ by: "token" }, { by: "connection" }],
    tokens: { cookie: null, header: "ring-token" },
  } as const;

  /** A view of a pool whose backend `a` works and the others are out, and a request with a token of `home`. */
  function lost(home: "b" | "c", rule: string) {
    const well = view({ a: 1, b: 1, c: 1 }, TOKENS);
    const grants = Array.from({ length: 30 }, (_, index) =>
      choose(well, visit({ affinity: TOKENS.affinity, connection: connection(`tls ${index}`) })),
    );
    const grant = grants.find(({ channel }) => channel.id === home)?.grant ?? null;
    if (grant === null) throw new Error(`nobody came to ${home}`);
    const token = well.sessions.write(grant, NOON, new Uint8Array(26))[0]?.[1] ?? "";
    const out = { ...OUT, serverId: 1 };
    const few = view({ a: 1, b: out, c: GONE }, { ...TOKENS, sessions: { lost: { ejected: rule } } });
    const asked = { affinity: TOKENS.affinity, headers: { "ring-token": token }, tried: tried("a") };
    return few.chooseLast(visit(asked));
  }

  it("goes home, if its backend is one of these", () => {
    expect(lost("b", "refuse")).toMatchObject({ channel: { id: "b" }, grant: null, inheritance: null });
  });

  it("goes elsewhere without a token, and that backend is told whose it was, or is refused as its rule says", () => {
    expect(lost("c", "sticky")).toMatchObject({
      channel: { id: "b" },
      grant: null,
      inheritance: { previous: "c" },
    });
    expect(lost("c", "refuse")).toEqual({ kind: "session_refused" });
  });
});

it("is what the ring says of backends that are ejected, and of none that an operator keeps out", () => {
  const well = unobserved(poolConfig({}).health, NOON);
  const ill = { observed: { ...well, probe: { ...well.probe, verdict: "unhealthy" } } } as const;
  const pin = { health: "unhealthy", reason: "disk full", untilMs: NOON } as const;
  const config: Partial<PoolConfig> = { tiers: { ...poolConfig({}).tiers, panicThresholdPercent: 1 } };
  const { backends } = projectSnapshot(
    pool(
      {
        well: 1,
        also: 1,
        ill,
        pinned: { pin },
        weightless: { ...ill, weight: 0 },
        draining: { ...ill, admin: { kind: "draining", untilMs: NOON } },
        disabled: { ...ill, admin: { kind: "disabled" } },
      },
      config,
    ),
  );
  expect(backends.filter(({ isLastResort }) => isLastResort).map(({ id }) => id)).toEqual(["ill"]);
});
