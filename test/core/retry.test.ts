import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_POOL_CONFIG } from "../../durable/model/pool.ts";
import type { RetryConfig, RouteRetry } from "../../durable/model/retry.ts";
import {
  decideRetry,
  type Failure,
  isRetryStatus,
  type RetryRules,
  retryRules,
  type Tried,
} from "../../worker/core/retry.ts";

const RULES = retryRules(DEFAULT_POOL_CONFIG, {});

const GET: Tried = {
  method: "GET",
  hasIdempotencyKey: false,
  isEarlyData: false,
  isReplayable: true,
  attempts: 1,
  elapsedMs: 0,
  chance: 0.5,
};

const BROKEN: Failure = { kind: "broken" };

function status(code: number, retryAfterMs: number | null = null): Failure {
  return { kind: "status", status: code, retryAfterMs };
}

it("takes no key for a licence where the pool does not", () => {
  const keyed = { ...GET, method: "POST", hasIdempotencyKey: true };
  expect(decideRetry(BROKEN, keyed, { ...RULES, idempotencyKeys: false })).toBeNull();
});

describe("425 Too Early (RFC 8470)", () => {
  it("is tried again whatever the method, since the server has not acted", () => {
    expect(decideRetry(status(425), { ...GET, method: "POST" }, RULES)).not.toBeNull();
    expect(isRetryStatus(425, RULES)).toBe(true);
  });

  it("goes to a client that said `Early-Data` itself", () => {
    expect(decideRetry(status(425), { ...GET, isEarlyData: true }, RULES)).toBeNull();
  });
});

describe("the wait", () => {
  it("is fully jittered, doubles, and has a bound", () => {
    const longest = [1, 2, 3, 4, 5].map((attempts) =>
      decideRetry(BROKEN, { ...GET, attempts, chance: 1 }, { ...RULES, maxAttempts: 10 }),
    );
    expect(longest).toEqual([25, 75, 175, 250, 250]);
    expect(decideRetry(BROKEN, { ...GET, chance: 0 }, RULES)).toBe(0);
  });

  it("is no longer because a backend asks for it that is not asked again, while others are well", () => {
    expect(decideRetry(status(503, 30_000), { ...GET, chance: 0 }, RULES)).toBe(0);
  });

  it("is as long as the backend asks where only a last resort is left, unless that is longer than a second", () => {
    expect(decideRetry(status(503, 1_000), GET, RULES, true)).toBe(1_000);
    expect(decideRetry(status(503, 1_001), GET, RULES, true)).toBeNull();
    expect(decideRetry(BROKEN, { ...GET, chance: 0 }, RULES, true)).toBe(0);
  });

  it("never ends after the total timeout", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 60_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (elapsedMs, chance) => {
          const waitMs = decideRetry(BROKEN, { ...GET, elapsedMs, chance }, RULES);
          expect(waitMs === null || elapsedMs + waitMs < RULES.totalTimeoutMs).toBe(true);
        },
      ),
    );
  });
});

it("retries the statuses that the pool says", () => {
  expect([200, 404, 500, 502, 503, 504].filter((code) => isRetryStatus(code, RULES))).toEqual([
    502, 503, 504,
  ]);
});

function rulesOf(route: RouteRetry, pool: Partial<RetryConfig> = {}): RetryRules {
  return retryRules(
    { ...DEFAULT_POOL_CONFIG, retry: { ...DEFAULT_POOL_CONFIG.retry, ...pool } },
    { retry: route },
  );
}

it("lets a route say what it wants otherwise, and the pool the rest", () => {
  const all = { maxAttempts: 1, statuses: [], methods: ["POST"], totalTimeoutMs: 10 };
  expect(rulesOf(all)).toEqual({ ...RULES, ...all });
  expect(rulesOf({ statuses: [500] })).toEqual({ ...RULES, statuses: [500] });
  const hedging = { hedge: { afterMs: 50, percent: 5 } };
  expect(rulesOf({ hedge: { afterMs: 9 } }, hedging).hedge).toEqual({ afterMs: 9, percent: 5 });
  expect(rulesOf({ hedge: { afterMs: null } }, hedging).hedge).toEqual({ afterMs: null, percent: 5 });
  expect(rulesOf({ hedge: {} }, hedging).hedge).toEqual(hedging.hedge);
});

// What happened: `headerTimeoutMs` of 60 s did nothing, since all attempts together had 45 s.
it.each<
  [
    { readonly headerTimeoutMs: number; readonly totalTimeoutMs?: number },
    Parameters<typeof retryRules>[1],
    number,
  ]
>([
  [{ headerTimeoutMs: 15_000 }, {}, 45_000],
  [{ headerTimeoutMs: 1_000 }, {}, 45_000],
  [{ headerTimeoutMs: 60_000 }, {}, 180_000],
  [{ headerTimeoutMs: 1_000 }, { headerTimeoutMs: 60_000 }, 180_000],
  [{ headerTimeoutMs: 60_000 }, { headerTimeoutMs: 1_000 }, 45_000],
  [{ headerTimeoutMs: 60_000 }, { retry: { maxAttempts: 1 } }, 60_000],
  [{ headerTimeoutMs: 60_000 }, { retry: { totalTimeoutMs: 50 } }, 50],
  [{ headerTimeoutMs: 60_000, totalTimeoutMs: 50 }, {}, 50],
  [{ headerTimeoutMs: 60_000, totalTimeoutMs: 50 }, { retry: { totalTimeoutMs: null } }, 180_000],
])(
  "gives a request with %o, and %o of its route, %i ms",
  ({ headerTimeoutMs, totalTimeoutMs = null }, route, expected) => {
    const retry = { ...DEFAULT_POOL_CONFIG.retry, totalTimeoutMs };
    expect(retryRules({ headerTimeoutMs, retry }, route).totalTimeoutMs).toBe(expected);
  },
);
