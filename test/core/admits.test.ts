import { expect, it } from "vitest";
import { projectAdmits, projectSnapshot } from "../../durable/state/project.ts";
import { backendId, NOON, pool, TOKEN_CONFIG } from "./support/build.ts";

const DRAINING = { kind: "draining", untilMs: NOON } as const;

it.each([
  ["active", { weight: 3 }, "new"],
  ["active, with weight 0", { weight: 0 }, "sticky"],
  ["draining", { admin: DRAINING }, "sticky"],
  ["draining, with weight 0", { weight: 0, admin: DRAINING }, "sticky"],
  ["drained", { admin: DRAINING, isDrained: true }, "none"],
  ["disabled", { weight: 3, admin: { kind: "disabled" } }, "none"],
] as const)("a backend that is %s admits its due", (_, told, admits) => {
  expect(pool({ a: told }).backends.map((backend) => projectAdmits(backend, false))).toEqual([admits]);
});

it("publishes of a pool what isolates route from, and of a backend not what is wanted of it", () => {
  const ring = pool({
    b: { weight: 2, via: "VPC", labels: { [backendId("zone")]: "x", [backendId("region")]: "weur" } },
    a: { admin: { kind: "disabled" } },
  });
  expect(projectSnapshot(ring)).toEqual({
    pool: "shop",
    incarnation: "first-life",
    version: 7,
    secret: ring.secret,
    config: ring.config,
    tokens: { writeId: 0, configs: [TOKEN_CONFIG], removed: [] },
    tiers: [{ priority: 0, isDegraded: false, sharePercent: 100, isPanicking: false }],
    backends: [
      {
        id: "b",
        url: "https://b.example",
        weight: 2,
        via: "VPC",
        admits: "new",
        tier: 0,
        servingSinceMs: 0,
        isEjected: false,
        isLastResort: false,
        labels: { zone: "x", region: "weur" },
        addedMs: 0,
        serverId: 0,
        region: "weur",
      },
      {
        id: "a",
        url: "https://a.example",
        weight: 1,
        via: null,
        admits: "none",
        tier: 0,
        servingSinceMs: 0,
        isEjected: false,
        isLastResort: false,
        labels: {},
        addedMs: 0,
        serverId: 1,
        region: null,
      },
    ],
  });
});
