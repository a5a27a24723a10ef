import { expect, it } from "vitest";
import { PoolView } from "../../worker/core/pool-view.ts";
import { decodeTrace, encodeTrace } from "../../worker/core/trace.ts";
import { Tracer } from "../../worker/core/tracer.ts";
import { NOON, snapshot } from "./support/build.ts";
import { visit } from "./support/visit.ts";

/** The trace of one request to a pool of so many backends, where a long cycle has come half way. */
function traced(count: number, attempts: number): string {
  const backends = Object.fromEntries(Array.from({ length: count }, (_, index) => [`b-${index}`, 1 + index]));
  const view = new PoolView(snapshot(backends), NOON, 0.5);
  const tracer = new Tracer();
  for (let made = 0; made < attempts; made++) {
    const attempt = tracer.attempt({ ageMs: 5, isDegraded: false }, made === 0 ? "FA" : "RT");
    attempt.chose(view.choose({ ...visit(), notes: attempt.notes }), view);
  }
  return encodeTrace(tracer.trace);
}

it("holds the turns of a thousand backends", () => {
  const decoded = decodeTrace(traced(1_000, 1));
  expect(decoded).toMatchObject({
    ok: true,
    value: { attempts: [{ local: { ranked: { turns: [["0", {}]] } } }] },
  });
});

it("leaves out what would make it too long for a header, and tells all else", () => {
  const text = traced(1_000, 3);
  expect(text.length).toBeLessThan(2_000);
  const attempts = Array.from({ length: 3 }, () => ({ reason: "PF", local: null }));
  expect(decodeTrace(text)).toMatchObject({ ok: true, value: { attempts } });
});

it.each(["", "e30", "nonsense!", traced(3, 1).slice(0, -8)])("refuses what is no trace: %s", (text) => {
  expect(decodeTrace(text)).toMatchObject({ ok: false, refusal: { kind: "invalid" } });
});
