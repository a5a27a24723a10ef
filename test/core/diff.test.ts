import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { Change } from "../../durable/model/command.ts";
import { diff } from "../../durable/state/diff.ts";

it("names each field that differs by its path", () => {
  const before = { policy: "round_robin", sync: { leaseMs: 30_000, refreshMs: 5_000 } };
  const after = { policy: "rendezvous", sync: { leaseMs: 60_000, refreshMs: 5_000 } };
  expect(diff(before, after)).toEqual([
    { path: "policy", before: "round_robin", after: "rendezvous" },
    { path: "sync.leaseMs", before: 30_000, after: 60_000 },
  ]);
});

it("compares lists of things with ids by id, wherever they stand", () => {
  const before = {
    backends: [
      { id: "a", weight: 1 },
      { id: "b", weight: 1 },
      { id: "c", weight: 1 },
    ],
  };
  const after = {
    backends: [
      { id: "d", weight: 9 },
      { id: "c", weight: 1 },
      { id: "a", weight: 5 },
    ],
  };
  expect(diff(before, after)).toEqual([
    { path: "backends.a.weight", before: 1, after: 5 },
    { path: "backends.b", before: { weight: 1 }, after: null },
    { path: "backends.d", before: null, after: { weight: 9 } },
  ]);
});

it("compares other lists as a whole, order included", () => {
  expect(diff({ methods: ["GET", "PUT"] }, { methods: ["PUT", "GET"] })).toEqual([
    { path: "methods", before: ["GET", "PUT"], after: ["PUT", "GET"] },
  ]);
  expect(diff({ affinity: [] }, { affinity: [{ by: "connection" }] })).toEqual([
    { path: "affinity", before: [], after: [{ by: "connection" }] },
  ]);
});

it("compares a list as a whole in which something has no id", () => {
  expect(diff({ rows: [{ id: "a" }, "b"] }, { rows: ["b", { id: "a" }] })).toEqual([
    { path: "rows", before: [{ id: "a" }, "b"], after: ["b", { id: "a" }] },
  ]);
});

it("tells an empty list or object from none", () => {
  expect(diff({ headers: [] }, {})).toEqual([{ path: "headers", before: [], after: null }]);
  expect(diff({}, { labels: {} })).toEqual([{ path: "labels", before: null, after: {} }]);
});

/** Plain documents of the shapes that are kept. */
const DOCUMENT = fc.dictionary(
  fc.constantFrom("a", "b", "c"),
  fc.oneof(
    fc.integer(),
    fc.string(),
    fc.array(fc.string(), { maxLength: 2 }),
    fc.uniqueArray(fc.record({ id: fc.constantFrom("x", "y", "z"), weight: fc.nat({ max: 2 }) }), {
      selector: ({ id }) => id,
    }),
    fc.dictionary(fc.constantFrom("d", "e"), fc.nat({ max: 2 }), { noNullPrototype: true }),
  ),
  { noNullPrototype: true },
);

function byPath(a: Change, b: Change): number {
  return a.path.localeCompare(b.path);
}

it("finds no difference between a document and its copy, and the same ones backwards", () => {
  fc.assert(
    fc.property(DOCUMENT, DOCUMENT, (one, other) => {
      expect(diff(one, structuredClone(one))).toEqual([]);
      const turned = diff(other, one).map(({ path, before, after }) => ({
        path,
        before: after,
        after: before,
      }));
      expect(diff(one, other).toSorted(byPath)).toEqual(turned.toSorted(byPath));
    }),
  );
});
