import { describe, expect, it } from "vitest";
import { after } from "../../durable/model/time.ts";
import { unobserved } from "../../durable/state/health.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import type { HeldBackend } from "../../durable/state/ring-state.ts";
import { NOON, pool } from "./support/build.ts";

type Told = Partial<Omit<HeldBackend, "id">>;

const OBSERVED = unobserved(pool().config.health, NOON);
const STOPPING: Told = {
  observed: { ...OBSERVED, announced: { word: "draining", untilMs: after(NOON, 60_000) } },
};
const SLOW: Told = {
  observed: { ...OBSERVED, announced: { word: "degraded", untilMs: after(NOON, 60_000) } },
};

/** What each of these admits, and the share of the first tier. */
function projected(backends: readonly Told[]) {
  const snapshot = projectSnapshot(
    pool(Object.fromEntries(backends.map((told, index) => [`b${index}`, told]))),
  );
  return {
    admits: snapshot.backends.map(({ admits }) => admits),
    shares: snapshot.tiers.map(({ sharePercent, isPanicking }) => [sharePercent, isPanicking]),
  };
}

function times(count: number, told: Told): readonly Told[] {
  return Array.from({ length: count }, () => told);
}

describe("a pool in which everybody asks for no new sessions", () => {
  it.each([1, 2, 3, 5])("of %i panics rather than be empty", (size) => {
    expect(projected(times(size, STOPPING))).toEqual({
      admits: Array.from({ length: size }, () => "new"),
      shares: [[100, true]],
    });
  });

  it("leaves them alone where another tier is enough", () => {
    expect(projected([...times(3, STOPPING), { priority: 1 }])).toEqual({
      admits: ["sticky", "sticky", "sticky", "new"],
      shares: [
        [0, false],
        [100, false],
      ],
    });
  });
});

describe("a pool in which most ask for no new sessions", () => {
  it("spares the others what is too much for them", () => {
    expect(projected([{}, ...times(9, STOPPING), { priority: 1 }])).toEqual({
      admits: ["new", ...Array.from({ length: 9 }, () => "sticky"), "new"],
      shares: [
        [14, false],
        [86, false],
      ],
    });
  });

  it("panics where there is no other tier", () => {
    expect(projected([{}, ...times(9, STOPPING)])).toMatchObject({ shares: [[100, true]] });
  });

  it("takes degraded ones first", () => {
    expect(projected([...times(5, STOPPING), ...times(5, SLOW)])).toMatchObject({
      shares: [
        [0, false],
        [100, false],
      ],
    });
  });
});

it("sends nothing new to one that stops while the rest is enough", () => {
  expect(projected([{}, {}, {}, STOPPING])).toEqual({
    admits: ["new", "new", "new", "sticky"],
    shares: [[100, false]],
  });
});

it("sends nothing to one that is drained or disabled, whoever panics", () => {
  const drained: Told = { admin: { kind: "draining", untilMs: NOON }, isDrained: true };
  expect(projected([STOPPING, drained, { admin: { kind: "disabled" } }]).admits).toEqual([
    "new",
    "none",
    "none",
  ]);
});
