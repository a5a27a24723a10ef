import { expect, it } from "vitest";
import { backendId } from "../support/build.ts";
import { asking, prepare } from "./hashed.ts";

it("picks in the pool's order, whatever the weights, and the next one only when those before it are excluded", () => {
  const picker = prepare("first", { c: 1, a: 1_000, b: 5 });
  const picks = [[], ["c"], ["a"], ["c", "a"], ["c", "a", "b"]].map((tried) =>
    picker.pick(asking({ exclude: new Set(tried.map(backendId)), chance: 0.9 })),
  );
  expect(picks).toEqual(["c", "a", "c", "b", null]);
});
