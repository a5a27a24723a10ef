import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { HistoryEntry, Part } from "../../durable/model/history.ts";
import { diff } from "../../durable/state/diff.ts";
import { assemble, differingParts, projectVersions } from "../../durable/state/parts.ts";
import { NOON } from "./support/build.ts";

type Document = Readonly<Record<string, unknown>> | null;

const BACKENDS = fc.uniqueArray(
  fc.record({ id: fc.constantFrom("a", "b", "c", "constructor"), weight: fc.constantFrom(1, 2) }),
  { selector: ({ id }) => id },
);
const DOCUMENT: fc.Arbitrary<Document> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ policy: fc.constantFrom("first", "random"), backends: BACKENDS }) },
  fc.constant(null),
);
const DOCUMENTS = fc.array(DOCUMENT, { maxLength: 12 });

function entry(version: number): HistoryEntry {
  return { version, atMs: NOON, actor: "operator alice", command: "put-pool", reason: null, changes: [] };
}

/** All that was ever written for documents of which the first is version 1. */
function written(documents: readonly Document[]): readonly Part[] {
  return documents.flatMap((document, index) =>
    differingParts(documents[index - 1] ?? null, document, "backends").map(({ name, json }) => ({
      name,
      json,
      version: index + 1,
    })),
  );
}

/** What storage gives: of every part the newest up to a version. */
function partsAt(parts: readonly Part[], version: number): readonly Part[] {
  const newest = new Map(parts.filter((part) => part.version <= version).map((part) => [part.name, part]));
  return [...newest.values()].filter(({ json }) => json !== null);
}

it("gives back every document, order included, from the parts that each version changed", () => {
  fc.assert(
    fc.property(DOCUMENTS, (documents) => {
      const parts = written(documents);
      documents.forEach((document, index) => {
        expect(assemble(partsAt(parts, index + 1), "backends")).toEqual(document);
      });
    }),
  );
});

it("shows every version with exactly the differences between its document and the one before", () => {
  fc.assert(
    fc.property(DOCUMENTS, fc.nat({ max: 12 }), fc.nat({ max: 2 }), (documents, start, forgotten) => {
      const parts = written(documents);
      const versions = documents.map((_, index) => index + 1).filter((version) => version > start);
      // Of what came by itself some is forgotten, and the rest still has to be right.
      const entries = versions.filter((version) => version % 3 !== forgotten).map(entry);
      const first = entries[0]?.version ?? 1;
      const base = partsAt(parts, first - 1);
      const since = parts.filter(({ version }) => version >= first);
      const shown = projectVersions(entries, base, since, "backends");
      expect(shown.map(({ version, changes }) => [version, sorted(changes)])).toEqual(
        entries.map(({ version }) => [
          version,
          sorted(diff(documents[version - 2] ?? {}, documents[version - 1] ?? {})),
        ]),
      );
    }),
  );
});

it("writes one part for a change of one backend, whatever else the pool holds", () => {
  const before = { policy: "first", backends: [backend("a", 1), backend("b", 1)] };
  const heavier = { policy: "first", backends: [backend("a", 1), backend("b", 2)] };
  expect(differingParts(before, heavier, "backends")).toEqual([
    { name: "b", json: JSON.stringify(backend("b", 2)) },
  ]);
  expect(differingParts(before, { ...before }, "backends")).toEqual([]);
});

it("adds what a version changed beside its document", () => {
  const pinned = { path: "pins.a", before: null, after: { health: "healthy" } };
  expect(projectVersions([{ ...entry(1), changes: [pinned] }], [], [], "backends")).toEqual([
    { ...entry(1), changes: [pinned] },
  ]);
});

function backend(id: string, weight: number): object {
  return { id, weight };
}

function sorted(changes: readonly { readonly path: string }[]): readonly object[] {
  return changes.toSorted((a, b) => a.path.localeCompare(b.path));
}
