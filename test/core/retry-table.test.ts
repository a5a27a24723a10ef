import { describe, expect, it } from "vitest";
import { blameOf } from "../../durable/model/outcome.ts";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import { classifyStatus } from "../../worker/core/classify.ts";
import {
  decideRetry,
  type Failure,
  isBodyKept,
  isRetryStatus,
  mayHedge,
  platformFailure,
  retryRules,
  type Tried,
} from "../../worker/core/retry.ts";

const { health } = DEFAULT_POOL_CONFIG;
const RULES = retryRules(DEFAULT_POOL_CONFIG, {});
const BLAMED = new Set(health.failureStatuses);

/*
 * Everything that can come of an attempt, at the defaults of a pool. R: tried again elsewhere. -: passed on, or answered for.
 * Idempotent methods: GET HEAD OPTIONS TRACE PUT DELETE. `+ key`: with `Idempotency-Key`, by which any method is one of them.
 *
 *   what comes         whom it blames   may it     GET  HEAD  OPTIONS  TRACE  PUT  DELETE  POST  PATCH  POST   PATCH
 *                                       have acted                                                      + key  + key
 */
const TABLE = `
     exception          failure          yes        R    R     R        R      R    R       -     -      R      R
     timeout            failure          yes        R    R     R        R      R    R       -     -      R      R
     520                failure          yes        R    R     R        R      R    R       -     -      R      R
     521                failure          no         R    R     R        R      R    R       R     R      R      R
     522                failure          no         R    R     R        R      R    R       R     R      R      R
     523                failure          no         R    R     R        R      R    R       R     R      R      R
     524                failure          yes        R    R     R        R      R    R       -     -      R      R
     525                failure          no         R    R     R        R      R    R       R     R      R      R
     526                failure          no         R    R     R        R      R    R       R     R      R      R
     527                failure          yes        R    R     R        R      R    R       -     -      R      R
     530                failure          no         R    R     R        R      R    R       R     R      R      R
     403+1003           failure          no         R    R     R        R      R    R       R     R      R      R
     999                failure          yes        R    R     R        R      R    R       -     -      R      R
     425                success          no         R    R     R        R      R    R       R     R      R      R
     425+Early-Data     success          no         -    -     -        -      -    -       -     -      -      -
     502                failure          yes        R    R     R        R      R    R       -     -      R      R
     503                failure          yes        R    R     R        R      R    R       -     -      R      R
     504                failure          yes        R    R     R        R      R    R       -     -      R      R
     500                failure          yes        -    -     -        -      -    -       -     -      -      -
     501                success          yes        -    -     -        -      -    -       -     -      -      -
     429                success          yes        -    -     -        -      -    -       -     -      -      -
     404                success          yes        -    -     -        -      -    -       -     -      -      -
     403                success          yes        -    -     -        -      -    -       -     -      -      -
     301                success          yes        -    -     -        -      -    -       -     -      -      -
     200                success          yes        -    -     -        -      -    -       -     -      -      -
`;

const SENDERS = [
  ["GET", false],
  ["HEAD", false],
  ["OPTIONS", false],
  ["TRACE", false],
  ["PUT", false],
  ["DELETE", false],
  ["POST", false],
  ["PATCH", false],
  ["POST", true],
  ["PATCH", true],
] as const;

/** Bodies, by their length as stated; null: there is none. */
const BODIES = [
  ["no body", null],
  ["an empty body", 0],
  ["a body that just fits", RULES.bodyBytes],
  ["a body that is too long", RULES.bodyBytes + 1],
  ["a body of unknown length", Number.POSITIVE_INFINITY],
] as const;

/** Whether a body lets a request be sent again. A GET's, and a HEAD's, is odd, and not kept. */
const REPLAYABLE: Readonly<Record<(typeof BODIES)[number][0], (method: string) => boolean>> = {
  "no body": () => true,
  "an empty body": (method) => method !== "GET" && method !== "HEAD",
  "a body that just fits": (method) => method !== "GET" && method !== "HEAD",
  "a body that is too long": () => false,
  "a body of unknown length": () => false,
};

interface Row {
  readonly what: string;
  readonly blame: string;
  readonly mayHaveActed: string;
  readonly cells: readonly string[];
}

const ROWS: readonly Row[] = TABLE.trim()
  .split("\n")
  .map((line) => {
    const [what = "", blame = "", mayHaveActed = "", ...cells] = line.trim().split(/\s+/);
    return { what, blame, mayHaveActed, cells };
  });

/** What a response with this status says, as the edge reads it; null: it is passed on. */
function failureBy(status: number): Failure | null {
  const outcome = classifyStatus(status, BLAMED);
  if (outcome === "unreachable" || outcome === "timed_out") return platformFailure(status);
  return isRetryStatus(status, RULES) ? { kind: "status", status, retryAfterMs: null } : null;
}

function failureOf(what: string): Failure | null {
  if (what === "exception" || what === "timeout") return { kind: "broken" };
  return what === "403+1003" ? { kind: "not_sent" } : failureBy(Number.parseInt(what, 10));
}

function blameIn(what: string): string {
  if (what === "timeout") return blameOf("timed_out");
  if (what === "exception" || what === "403+1003") return blameOf("unreachable");
  return blameOf(classifyStatus(Number.parseInt(what, 10), BLAMED));
}

function describeTried(
  sender: readonly [method: string, hasKey: boolean],
  lengthBytes: number | null,
  attempts: number,
): Tried {
  const [method, hasIdempotencyKey] = sender;
  const isReplayable = lengthBytes === null || isBodyKept(method, lengthBytes, RULES);
  return { method, hasIdempotencyKey, isEarlyData: false, isReplayable, attempts, elapsedMs: 0, chance: 0.5 };
}

it("has a cell for every method, and every status that the platform answers with", () => {
  expect(ROWS.every(({ cells }) => cells.length === SENDERS.length)).toBe(true);
  const named = new Set(ROWS.map(({ what }) => what));
  for (let status = 520; status <= 530; status++) {
    const isPlatforms = ["unreachable", "timed_out"].includes(classifyStatus(status, BLAMED));
    expect(named.has(String(status))).toBe(isPlatforms);
  }
});

/** A server that finds a request too early has not acted on it (RFC 8470 §5.2). */
function provesNothingDone(failure: Failure | null): boolean {
  return failure?.kind === "not_sent" || (failure?.kind === "status" && failure.status === 425);
}

describe.each(ROWS)("$what", ({ what, blame, mayHaveActed, cells }) => {
  const failure = failureOf(what);
  const isEarlyData = what.endsWith("Early-Data");

  it(`says of its backend: ${blame}`, () => {
    expect(blameIn(what)).toBe(blame);
  });

  it(`may have been acted on: ${mayHaveActed}`, () => {
    expect(provesNothingDone(failure) ? "no" : "yes").toBe(mayHaveActed);
  });

  it.each(SENDERS.map((sender, index) => ({ sender, cell: cells[index] })))(
    "$sender.0 (with key: $sender.1): $cell",
    ({ sender, cell }) => {
      for (const [name, lengthBytes] of BODIES) {
        for (let attempts = 1; attempts <= RULES.maxAttempts; attempts++) {
          const tried = { ...describeTried(sender, lengthBytes, attempts), isEarlyData };
          const isRetried = failure !== null && decideRetry(failure, tried, RULES) !== null;
          const isExpected = cell === "R" && REPLAYABLE[name](sender[0]) && attempts < RULES.maxAttempts;
          expect([name, attempts, isRetried]).toEqual([name, attempts, isExpected]);
        }
      }
    },
  );
});

// A hedge goes out while nobody knows what the first backend has done: as if its connection had broken.
it.each(SENDERS)(
  "hedges %s (with key: %s) where it would be tried again after a broken connection",
  (...sender) => {
    for (const [, lengthBytes] of BODIES) {
      for (let attempts = 1; attempts <= RULES.maxAttempts; attempts++) {
        const tried = describeTried(sender, lengthBytes, attempts);
        expect(mayHedge(tried, RULES)).toBe(decideRetry({ kind: "broken" }, tried, RULES) !== null);
      }
    }
  },
);

it("hedges nothing any more when the total timeout is over", () => {
  const tried = describeTried(["GET", false], null, 1);
  expect(mayHedge({ ...tried, elapsedMs: RULES.totalTimeoutMs - 1 }, RULES)).toBe(true);
  expect(mayHedge({ ...tried, elapsedMs: RULES.totalTimeoutMs }, RULES)).toBe(false);
});

it("keeps no body where there are no retries", () => {
  expect(isBodyKept("PUT", 10, RULES)).toBe(true);
  expect(isBodyKept("PUT", 10, { ...RULES, maxAttempts: 1 })).toBe(false);
});
