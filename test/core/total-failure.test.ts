import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { BackendId } from "../../durable/model/names.ts";
import { after } from "../../durable/model/time.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import { decideRetry, mayHedge, type RetryRules, retryRules, type Tried } from "../../worker/core/retry.ts";
import { RetryBudget } from "../../worker/core/retry-budget.ts";
import { NOON, snapshot } from "./support/build.ts";
import { poolConfig, visit } from "./support/visit.ts";

/** A request that comes so long after noon, and whose every attempt fails after so long. */
interface Coming {
  readonly atMs: number;
  readonly failsAfterMs: number;
}

/** How much reached the backends. */
interface Load {
  requests: number;
  retries: number;
  hedges: number;
}

/**
 * One isolate in virtual time, with every backend failing: what the pipeline does, step by step, with the rules, budgets and
 * choices that it uses. Every entry of `onStep` is the load so far.
 */
class Outage {
  readonly load: Load = { requests: 0, retries: 0, hedges: 0 };
  readonly #config: RetryRules;
  readonly #view: PoolView;
  readonly #retries = new RetryBudget();
  readonly #hedges = new RetryBudget();
  readonly #agenda: { readonly atMs: number; readonly act: (atMs: number) => void }[] = [];

  constructor(retry: object) {
    const config = poolConfig({ retry });
    this.#config = retryRules(config, {});
    this.#view = new PoolView(snapshot({ a: 1, b: 1, c: 1, d: 1 }, { config }), NOON, 0);
  }

  run(coming: readonly Coming[], onStep: (load: Load) => void): void {
    for (const each of coming)
      this.#agenda.push({ atMs: each.atMs, act: (atMs) => this.#arrive(each, atMs) });
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      next.act(next.atMs);
      onStep(this.load);
    }
  }

  #next() {
    this.#agenda.sort((one, other) => other.atMs - one.atMs);
    return this.#agenda.pop();
  }

  #arrive({ failsAfterMs }: Coming, beganMs: number): void {
    const tried = new Set<BackendId>();
    let open = 0;
    const told = (atMs: number): Tried => ({
      method: "GET",
      hasIdempotencyKey: false,
      isEarlyData: false,
      isReplayable: true,
      attempts: tried.size,
      elapsedMs: atMs - beganMs,
      chance: 0.5,
    });
    const attempt = (atMs: number): void => {
      const choice = this.#view.choose(visit({ nowMs: after(NOON, atMs), tried }));
      if (choice.kind !== "backend") return;
      const { channel } = choice;
      tried.add(channel.id);
      open++;
      this.#agenda.push({
        atMs: atMs + failsAfterMs,
        act: (failedMs) => {
          channel.end();
          open--;
          if (open === 0) fail(failedMs);
        },
      });
    };
    const begin = (atMs: number): void => {
      attempt(atMs);
      const { afterMs } = this.#config.hedge;
      if (afterMs !== null)
        this.#agenda.push({ atMs: atMs + afterMs, act: (lateMs) => open === 1 && hedge(lateMs) });
    };
    const hedge = (atMs: number): void => {
      if (!mayHedge(told(atMs), this.#config) || !this.#view.admitsBeside(tried)) return;
      const { percent } = this.#config.hedge;
      if (!this.#hedges.withdraw({ percent, floor: 0 }, after(NOON, atMs))) return;
      this.load.hedges++;
      attempt(atMs);
    };
    const fail = (atMs: number): void => {
      const waitMs = decideRetry({ kind: "broken" }, told(atMs), this.#config);
      if (waitMs === null || !this.#view.admitsBeside(tried)) return;
      if (!this.#retries.withdraw(this.#config.budget, after(NOON, atMs))) return;
      this.load.retries++;
      this.#agenda.push({ atMs: atMs + waitMs, act: begin });
    };
    this.load.requests++;
    this.#retries.deposit(after(NOON, beganMs));
    this.#hedges.deposit(after(NOON, beganMs));
    begin(beganMs);
  }
}

const COMING = fc.array(
  fc.record({ atMs: fc.nat({ max: 60_000 }), failsAfterMs: fc.integer({ min: 0, max: 3_000 }) }),
  { maxLength: 300 },
);
const MAX_ATTEMPTS = fc.integer({ min: 2, max: 10 });

it("keeps the load of a pool whose backends all fail at 1.2 times what comes in, at every moment", () => {
  fc.assert(
    fc.property(COMING, MAX_ATTEMPTS, (coming, maxAttempts) => {
      const outage = new Outage({ maxAttempts, budget: { floor: 0 } });
      outage.run(coming, ({ requests, retries }) => {
        expect(requests + retries).toBeLessThanOrEqual(1.2 * requests);
      });
    }),
  );
});

it("adds a floor in every ten seconds to that, and no more than a tenth in hedges", () => {
  fc.assert(
    fc.property(COMING, MAX_ATTEMPTS, fc.nat({ max: 20 }), (coming, maxAttempts, floor) => {
      const hedge = { afterMs: 50, percent: 10 };
      const outage = new Outage({ maxAttempts, budget: { floor }, hedge });
      outage.run(coming, ({ requests, hedges }) => {
        expect(hedges).toBeLessThanOrEqual(0.1 * requests);
      });
      const { requests, retries } = outage.load;
      // 60 s of requests, and at most 30 s of retries after the last one.
      expect(retries).toBeLessThanOrEqual(0.2 * requests + 9 * floor);
    }),
  );
});

it("spends the budget while requests come steadily, so that the bound is not one by doing nothing", () => {
  const coming = Array.from({ length: 3_000 }, (_, index) => ({ atMs: index * 10, failsAfterMs: 200 }));
  const outage = new Outage({ budget: { floor: 0 }, hedge: { afterMs: 50, percent: 10 } });
  outage.run(coming, () => {});
  const { requests, retries, hedges } = outage.load;
  expect([requests, retries / requests, hedges / requests]).toEqual([
    3_000,
    expect.closeTo(0.2, 2),
    expect.closeTo(0.1, 2),
  ]);
});
