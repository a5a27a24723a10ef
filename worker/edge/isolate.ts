import { DEFAULT_POOL, type PoolName } from "../../durable/model/names.ts";
import { poolsOf, type Route } from "../../durable/model/route.ts";
import { type Carriers, TokenCurtain } from "../core/carriers.ts";
import { GuessLimiter } from "../core/guess-limiter.ts";
import { parseSettings, type Settings } from "../core/settings.ts";
import { TargetParser } from "../core/target.ts";
import type { Env } from "../env.ts";
import { EdgeDirectory } from "./edge-directory.ts";
import { EdgePool } from "./edge-pool.ts";
import { HeaderWatch } from "./header-watch.ts";

/** All that this isolate remembers from one request to the next. */
export class Isolate {
  readonly id = crypto.randomUUID();
  readonly settings: Settings;
  readonly targets = new TargetParser();
  readonly directory = new EdgeDirectory(this.id, (routes) => this.#keepPools(routes));
  #curtain: TokenCurtain | null = null;
  readonly headerWatch = new HeaderWatch();
  /** Of tokens sent to the admin API. */
  readonly tokenGuesses = new GuessLimiter();
  /** Of tokens that traces are signed with: apart, as anybody may send such requests from where an operator sits, too. */
  readonly traceGuesses = new GuessLimiter();
  readonly #pools = new Map<PoolName, EdgePool>();

  constructor(env: Env) {
    this.settings = parseSettings(env);
  }

  /** What keeps the tokens of all pools known here from backends. */
  get curtain(): TokenCurtain {
    this.#curtain ??= new TokenCurtain(this.#carriersInUse());
    return this.#curtain;
  }

  /** A pool that a route leads to. The routes bound how many there are. */
  pool(name: PoolName): EdgePool {
    const known = this.#pools.get(name);
    if (known !== undefined) return known;
    const pool = new EdgePool(name, this.id, () => this.#forgetCurtain());
    this.#pools.set(name, pool);
    return pool;
  }

  /** Those of pools that bind by tokens, by their own word or by a route's. */
  #carriersInUse(): readonly Carriers[] {
    const byRoute = this.directory.index?.tokenPools;
    return [...this.#pools].flatMap(([name, { view }]) =>
      view !== null && (view.hasTokens || byRoute?.has(name) === true) ? [view.sessions.carriers] : [],
    );
  }

  #forgetCurtain(): void {
    this.#curtain = null;
  }

  /** Forgets pools that no route leads to any more, nor a pool that falls back on them, unless something is in flight there. */
  #keepPools(routes: readonly Route[]): void {
    this.#forgetCurtain();
    const routed = [DEFAULT_POOL, ...routes.flatMap(poolsOf)];
    const fallbacks = routed.map((name) => this.#pools.get(name)?.fallback ?? null);
    const used = new Set([...routed, ...fallbacks]);
    for (const [name, pool] of this.#pools) if (!used.has(name) && pool.isIdle) this.#pools.delete(name);
  }
}

let isolate: Isolate | null = null;

/** This isolate's memory, made in the first request: at module scope there is neither clock nor randomness. */
export function thisIsolate(env: Env): Isolate {
  isolate ??= new Isolate(env);
  return isolate;
}
