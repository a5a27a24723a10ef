import * as fc from "fast-check";
import { expect, it } from "vitest";
import { Recent } from "../../../worker/core/token/recent.ts";

const USES = fc.array(fc.integer({ min: 0, max: 11 }).map(String), { maxLength: 60 });

/** Finds a text or adds it, as a reader does. */
function use(recent: Recent<string>, text: string): void {
  if (recent.find(text) === undefined) recent.add(text, `value of ${text}`);
}

it("remembers the last half of what it may hold, and never more than all of it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), USES, (half, uses) => {
      const recent = new Recent<string>(2 * half);
      for (const text of uses) {
        use(recent, text);
        expect(recent.size).toBeLessThanOrEqual(2 * half);
      }
      const last = [...new Set(uses.toReversed())].slice(0, half);
      for (const text of last) expect(recent.find(text)).toBe(`value of ${text}`);
    }),
  );
});

it("forgets what has not been used for longest", () => {
  const recent = new Recent<string>(4);
  for (const text of ["a", "b", "c", "a", "d", "e", "f"]) use(recent, text);
  expect(recent.find("b")).toBeUndefined();
  expect(recent.find("f")).toBe("value of f");
});

it("forgets at once what it is told to, young or old", () => {
  const recent = new Recent<string>(4);
  for (const text of ["a", "b", "c"]) use(recent, text);
  recent.forget("a");
  recent.forget("c");
  expect(["a", "b", "c"].map((text) => recent.find(text))).toEqual([undefined, "value of b", undefined]);
});
