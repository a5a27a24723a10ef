import * as fc from "fast-check";
import { expect, it } from "vitest";
import { PreviewModel } from "./support/preview-model.ts";
import { CHANGE, RING } from "./support/previewed-changes.ts";

it("does what the preview says, for 1,000 random changes of random pools", { timeout: 300_000 }, () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(RING, CHANGE, fc.integer(), (ring, command, seed) => {
      const model = new PreviewModel(seed);
      const isMade = model.judge(ring, command);
      for (const what of model.seen.keys()) seen.add(what);
      expect(model.broken).toEqual([]);
      fc.pre(isMade);
    }),
    { numRuns: 1_000 },
  );
  // Or the property would have shown nothing of these.
  expect([...seen].toSorted()).toEqual([
    "hash space",
    "refused",
    "session disabled",
    "session drained",
    "session drained later",
    "session ejected",
    "session rehashed",
    "session removed",
    "session repinned",
    "session repinned to a newcomer",
    "session returned",
    "session stays",
    "session unbound",
    "shares by cycle",
    "shares by first",
    "shares by least_request",
    "shares by maglev",
    "shares by peak_ewma",
    "shares by random",
    "shares by rendezvous",
    "shares by ring_hash",
    "shares by round_robin",
  ]);
});
