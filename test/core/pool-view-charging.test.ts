import { expect, it } from "vitest";
import { PoolView } from "../../worker/core/pool-view.ts";
import { NOON, snapshot } from "./support/build.ts";
import { connection, placeOf, poolConfig, visit } from "./support/visit.ts";

/** Where free requests go while after each of them comes another that is bound to b. */
function freeBesideBound(stickyDebtRounds: number, requests: number): string {
  const view = new PoolView(
    snapshot({ a: 5, b: 1, c: 1 }, { config: poolConfig({ stickyDebtRounds }) }),
    NOON,
    0,
  );
  const bound = Array.from({ length: 100 }, (_, index) =>
    visit({ affinity: [{ by: "connection" }], policy: "first", connection: connection(`tls ${index}`) }),
  ).find((choosing) => placeOf(view, choosing) === "b");
  if (bound === undefined) throw new Error("no connection was led to b");
  const free = visit();
  return Array.from({ length: requests }, () => {
    const place = placeOf(view, free);
    placeOf(view, { ...bound, policy: "round_robin" });
    return place;
  }).join("");
}

// What happened: a backend whose turn was near was charged even with no rounds to owe. With weights 5, 1 and 1 its turn was
// taken from it every time before it came, and b got none of 7000 free requests.
it("takes no turns for bound traffic where none may be owed", () => {
  expect(freeBesideBound(0, 21)).toBe("aabacaa".repeat(3));
});

it("takes turns for bound traffic where some may be owed", () => {
  expect(freeBesideBound(16, 70)).not.toContain("b");
});
