import { expect, it } from "vitest";
import { after, epochMs } from "../../durable/model/time.ts";
import { LeaseLedger } from "../../durable/state/lease-ledger.ts";
import { countLost, type Gone } from "../../durable/state/lost-leases.ts";
import { backendId, NOON } from "./support/build.ts";

const LEASE_MS = 30_000;
const OVER_MS = 60_000;

/** A ledger with one isolate, and what it says of isolates that are gone. */
function ledgerOf(haveVersion: number, granted: readonly number[], inFlight = 0) {
  const gone: Gone[] = [];
  const ledger = new LeaseLedger(LEASE_MS, NOON, (each) => gone.push(...each));
  const busy = inFlight === 0 ? [] : [{ id: backendId("a"), count: inFlight }];
  for (const version of granted) {
    ledger.hear({ isolate: "one", seq: version, haveVersion, inFlight: busy }, NOON);
    ledger.grant("one", version, LEASE_MS, NOON);
  }
  return { ledger, gone };
}

it("loses nothing while a lease lasts, and tells of an isolate once when it is over", () => {
  const { ledger, gone } = ledgerOf(7, [7]);
  ledger.sweep(after(NOON, LEASE_MS));
  expect(gone).toEqual([]);
  ledger.sweep(after(NOON, OVER_MS));
  ledger.sweep(after(NOON, 2 * OVER_MS));
  expect(gone).toEqual([{ version: 7, inFlight: 0 }]);
});

it("tells the oldest version that an isolate may have gone on with, and what it had in flight", () => {
  const { ledger, gone } = ledgerOf(6, [6, 7], 3);
  ledger.sweep(after(NOON, OVER_MS));
  expect(gone).toEqual([{ version: 6, inFlight: 3 }]);
});

it.each<[string, Gone[], object | null]>([
  ["idle and up to date", [{ version: 7, inFlight: 0 }], null],
  ["without ever a lease", [{ version: null, inFlight: 0 }], null],
  ["with an older version", [{ version: 6, inFlight: 0 }], { unacknowledged: 1, busy: 0, inFlight: 0 }],
  ["at work", [{ version: 7, inFlight: 2 }], { unacknowledged: 0, busy: 1, inFlight: 2 }],
  [
    "of each kind",
    [
      { version: 7, inFlight: 0 },
      { version: 5, inFlight: 4 },
      { version: 7, inFlight: 1 },
    ],
    { unacknowledged: 1, busy: 2, inFlight: 5 },
  ],
])("counts isolates that are gone while version 7 is the present one: %s", (_, gone, counted) => {
  const nowMs = epochMs(NOON + 61_234);
  const expected = counted === null ? null : { atMs: NOON + 60_000, ...counted };
  expect(countLost(gone, 7, nowMs)).toEqual(expected);
});
