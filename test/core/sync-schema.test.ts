import { expect, it } from "vitest";
import { parse } from "../../durable/model/parse.ts";
import { SyncRequestSchema } from "../../durable/model/sync.ts";

const ASKING = { isolate: "isolate-1", seq: 0, incarnation: null, haveVersion: 0 };

it("fills in a sync that reports nothing", () => {
  expect(parse(SyncRequestSchema, ASKING)).toEqual({
    ok: true,
    value: { ...ASKING, report: null, inFlight: [] },
  });
});

it("fills in the counts that a report leaves out", () => {
  const report = {
    batch: 3,
    backends: [{ id: "a", outcomes: { answered: 2 } }],
    protocols: {},
    incidents: {},
  };
  expect(parse(SyncRequestSchema, { ...ASKING, report })).toMatchObject({
    value: {
      report: {
        batch: 3,
        backends: [
          {
            id: "a",
            outcomes: { answered: 2, server_error: 0, unreachable: 0, timed_out: 0, client_gone: 0 },
          },
        ],
        protocols: { "HTTP/1.0": 0, "HTTP/1.1": 0, "HTTP/2": 0, "HTTP/3": 0, other: 0 },
        incidents: { no_backend: 0, degraded: 0, loop: 0, session_refused: 0, migration: 0 },
        sessions: {
          kept: 0,
          drained: 0,
          ejected: 0,
          removed: 0,
          repinned: 0,
          invalid: 0,
          expired: 0,
          unknown: 0,
        },
      },
    },
  });
});

it("takes a sync of an isolate that knows more words than the ring, as a newer deployment may", () => {
  const report = { batch: 0, backends: [], protocols: { "HTTP/4": 1 }, incidents: {}, colours: 5 };
  expect(parse(SyncRequestSchema, { ...ASKING, report, mood: "good" })).toMatchObject({ ok: true });
});

it.each([
  ["a short isolate id", { isolate: "x" }],
  ["no seq", { seq: undefined }],
  ["a negative version", { haveVersion: -1 }],
  ["a fraction in flight", { inFlight: [{ id: "a", count: 0.5 }] }],
  ["a negative count", { report: { batch: 0, backends: [], protocols: { other: -1 }, incidents: {} } }],
  ["a backend no pool can hold", { inFlight: [{ id: "😀", count: 1 }] }],
])("refuses a sync with %s", (_, wrong) => {
  expect(parse(SyncRequestSchema, { ...ASKING, ...wrong })).toMatchObject({ refusal: { kind: "invalid" } });
});
