import type { BackendId } from "../../durable/model/names.ts";
import type { PoolConfig } from "../../durable/model/pool.ts";
import type { MoveCause, Rehearsal, SessionMove } from "../../durable/model/preview.ts";
import type { SnapshotBackend } from "../../durable/model/snapshot.ts";
import { type EpochMs, after as later } from "../../durable/model/time.ts";
import type { LostRule } from "../../durable/model/token.ts";
import type { EstimatedSessions } from "../../durable/model/view.ts";
import { usesTokens } from "./affinity.ts";
import { Carriers } from "./carriers.ts";
import type { Hash64 } from "./keyed-hash.ts";
import type { PreviewedPool } from "./previewed-pool.ts";
import { keyCount, sampleKeys } from "./sample-keys.ts";

/** Which sessions a change moves, by the pool's own chain: of each backend, why, and when. */
export function sessionMoves(
  before: PreviewedPool,
  after: PreviewedPool | null,
  { sessions, nowMs }: Pick<Rehearsal, "sessions" | "nowMs">,
): readonly SessionMove[] {
  const forecast = new SessionForecast(before, after);
  const isBinding = usesTokens(before.config.affinity);
  return sessions
    .filter(({ estimated }) => isBinding || estimated.count > 0)
    .flatMap(({ id, estimated }) =>
      movesNow(forecast, after, id, estimated, nowMs).concat(drainsLater(before, after, id, estimated)),
    );
}

/** Where the sessions of a pool are before and after a change. */
export class SessionForecast {
  readonly #before: PreviewedPool;
  readonly #after: PreviewedPool | null;
  readonly #isUnbound: boolean;
  readonly #keys: readonly Hash64[];
  /** By region: where the keys lead, before and after. */
  readonly #placed = new Map<number, readonly Placed[]>();

  constructor(before: PreviewedPool, after: PreviewedPool | null) {
    this.#before = before;
    this.#after = after;
    this.#isUnbound = after !== null && losesTokens(before, after);
    const most = Math.max(before.snapshot.backends.length, after?.snapshot.backends.length ?? 0);
    this.#keys = sampleKeys(keyCount(most)).keys;
  }

  /**
   * Why the session of a backend moves that is placed by this key; null: it stays. One that the pool lets age is taken to have
   * come to its backend when that was added, so it moves at the earliest.
   */
  causeFor(home: BackendId, key: Hash64): MoveCause | null {
    const held = this.#before.backend(home);
    return held === null ? null : this.#causeOf(held, this.#place(key, this.#before.regionOf(held)));
  }

  /** The causes that move sessions of a backend, each with the part of them, 0…1. */
  causes(home: BackendId): ReadonlyMap<MoveCause, number> {
    const held = this.#before.backend(home);
    const causes = new Map<MoveCause, number>();
    if (held === null) return causes;
    const certain = this.#certainCause(held);
    if (certain !== undefined) return certain === null ? causes : causes.set(certain, 1);
    const placed = this.#sample(this.#before.regionOf(held));
    for (const place of placed) {
      const cause = this.#causeOf(held, place);
      if (cause !== null) causes.set(cause, (causes.get(cause) ?? 0) + 1 / placed.length);
    }
    return causes;
  }

  #causeOf(home: SnapshotBackend, placed: Placed): MoveCause | null {
    const certain = this.#certainCause(home);
    if (certain !== undefined) return certain;
    const after = this.#after?.backend(home.id) ?? null;
    if (home.admits === "none") {
      if (placed.before === placed.after) return null;
      return after === null ? "removed" : "rehashed";
    }
    return after !== null && this.#takesOver(home, placed) ? "repinned" : null;
  }

  /** Why all sessions of a backend move; null: none does; undefined: it depends on where each is led. */
  #certainCause(home: SnapshotBackend): MoveCause | null | undefined {
    const after = this.#after?.backend(home.id) ?? null;
    const ruleBefore = home.admits === "none" ? lostRule(this.#before, home) : null;
    // Whoever of them has come since has another backend by now.
    if (ruleBefore === "sticky") return null;
    if (this.#isUnbound) return "unbound";
    const isBack = after !== null && after.admits !== "none";
    if (home.admits === "none") {
      if (isBack) return "returned";
      const ruleAfter = this.#after === null ? "refuse" : lostRule(this.#after, after);
      if (ruleBefore === "refuse" && ruleAfter === "refuse") return null;
      return ruleBefore === ruleAfter || (ruleBefore === "temporary" && ruleAfter === "sticky")
        ? undefined
        : after === null
          ? "removed"
          : "rehashed";
    }
    if (after === null) return "removed";
    if (!isBack) return this.#lossOf(after);
    return this.#after !== null && ages(this.#after.config) ? undefined : null;
  }

  #lossOf({ id, isEjected }: SnapshotBackend): MoveCause {
    if (isEjected) return "ejected";
    return this.#after?.admin(id)?.kind === "disabled" ? "disabled" : "drained";
  }

  /** Whether a session that is old enough goes to a backend that came later, and did not go there without the change. */
  #takesOver(home: SnapshotBackend, placed: Placed): boolean {
    const next = placed.after === null ? null : (this.#after?.backend(placed.after) ?? null);
    if (next === null || next.id === home.id || next.addedMs <= home.addedMs) return false;
    return placed.before !== placed.after || !agesAlike(this.#before.config, this.#after?.config ?? null);
  }

  #place(key: Hash64, region: number): Placed {
    return {
      before: this.#before.placeSession(key, region),
      after: this.#after?.placeSession(key, region) ?? null,
    };
  }

  #sample(region: number): readonly Placed[] {
    const known = this.#placed.get(region);
    if (known !== undefined) return known;
    const placed = this.#keys.map((key) => this.#place(key, region));
    this.#placed.set(region, placed);
    return placed;
  }
}

/** Where a session is led that is placed anew; null: nobody takes it. */
interface Placed {
  readonly before: BackendId | null;
  readonly after: BackendId | null;
}

function movesNow(
  forecast: SessionForecast,
  after: PreviewedPool | null,
  id: BackendId,
  { count, sinceMs }: EstimatedSessions,
  nowMs: EpochMs,
): readonly SessionMove[] {
  return [...forecast.causes(id)].map(([cause, share]) => ({
    backend: id,
    cause,
    sessions: Math.round(count * share),
    countedSinceMs: sinceMs,
    rule: after === null ? null : ruleFor(cause, after.config),
    fromMs: nowMs,
    untilMs: cause === "repinned" ? agedBy(after?.config ?? null, nowMs) : nowMs,
  }));
}

/** A drain that the change begins, or gives another deadline, moves what is left at that time, and nothing before. */
function drainsLater(
  before: PreviewedPool,
  after: PreviewedPool | null,
  id: BackendId,
  { count, sinceMs }: EstimatedSessions,
): readonly SessionMove[] {
  const admin = after?.admin(id);
  if (after === null || admin?.kind !== "draining" || after.backend(id)?.admits !== "sticky") return [];
  const was = before.admin(id);
  if (was?.kind === "draining" && was.untilMs === admin.untilMs) return [];
  const { untilMs } = admin;
  const rule = after.config.sessions.lost.drained;
  return [
    {
      backend: id,
      cause: "drained",
      sessions: count,
      countedSinceMs: sinceMs,
      rule,
      fromMs: untilMs,
      untilMs,
    },
  ];
}

/**
 * What a pool does with sessions whose backend takes them no more; null stands for one that is gone. Where nobody takes them,
 * it refuses them whatever its rule, and they keep their tokens.
 */
function lostRule({ config, takesNew }: PreviewedPool, home: SnapshotBackend | null): LostRule {
  if (!takesNew) return "refuse";
  const { lost } = config.sessions;
  if (home === null) return lost.removed;
  return home.isEjected ? lost.ejected : lost.drained;
}

function ruleFor(cause: MoveCause, { sessions: { lost } }: PoolConfig): LostRule | null {
  switch (cause) {
    case "removed":
      return lost.removed;
    case "drained":
    case "disabled":
      return lost.drained;
    case "ejected":
      return lost.ejected;
    case "repinned":
    case "returned":
    case "rehashed":
    case "unbound":
      return null;
  }
}

/** Whether clients hold tokens that the pool no longer looks for. */
function losesTokens(before: PreviewedPool, after: PreviewedPool): boolean {
  if (usesTokens(before.config.affinity) && !usesTokens(after.config.affinity)) return true;
  const [was, is] = [carriersOf(before), carriersOf(after)];
  return (
    (was.cookie !== null && was.cookie !== is.cookie) || (was.header !== null && was.header !== is.header)
  );
}

function carriersOf({ snapshot: { pool, config } }: PreviewedPool) {
  const { cookieName, header } = new Carriers(pool, config.tokens);
  return { cookie: config.tokens.cookie === null ? null : cookieName, header };
}

function ages({ sessions: { maxAgeMs, maxRequests } }: PoolConfig): boolean {
  return maxAgeMs !== null || maxRequests !== null;
}

function agesAlike({ sessions: was }: PoolConfig, after: PoolConfig | null): boolean {
  return was.maxAgeMs === after?.sessions.maxAgeMs && was.maxRequests === after.sessions.maxRequests;
}

/** When every session of today is old enough; of how many requests each sends nobody knows. */
function agedBy(config: PoolConfig | null, nowMs: EpochMs): EpochMs | null {
  const maxAgeMs = config?.sessions.maxAgeMs ?? null;
  return maxAgeMs === null ? null : later(nowMs, maxAgeMs);
}
