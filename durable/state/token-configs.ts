import { LIMITS } from "../model/limits.ts";
import type { PoolConfig } from "../model/pool.ts";
import type { Refusal } from "../model/refusal.ts";
import { ok, type Result, refuse } from "../model/result.ts";
import { serverIdSpace } from "../model/server-id.ts";
import type { TokenConfig } from "../model/snapshot.ts";
import { after, type EpochMs, earliest, later } from "../model/time.ts";
import { MAX_LIVE_CONFIGS, type Tokens } from "../model/token.ts";
import { leaseEndMs } from "./lease-ledger.ts";

/** Codepoints that name a configuration: three bits, of which 7 says that a token names no server. */
const CODEPOINTS = 7;

/**
 * How far a configuration has come. `spreading`: published since a version, so that all can read it before any writes
 * under it. `writing`: new tokens are made under it. `retired`: only read, until the last of its tokens has expired.
 */
export type ConfigPhase =
  | { readonly kind: "spreading"; readonly sinceVersion: number }
  | { readonly kind: "writing" }
  | { readonly kind: "retired"; readonly untilMs: EpochMs };

/** A token configuration as the ring holds it. At most one is spreading, and exactly one is writing. */
export interface HeldConfig extends TokenConfig {
  readonly phase: ConfigPhase;
  readonly createdMs: EpochMs;
}

/** Fresh keys of a configuration, 32 hexadecimal digits each. */
export type TokenKeys = Pick<TokenConfig, "key" | "macKey">;

/** The codepoint of a configuration that was dropped, but that an isolate may still hold. */
export interface RestingCodepoint {
  readonly id: number;
  readonly untilMs: EpochMs;
}

/** What a transition needs besides the state: time, who may still use what, and chance. */
export interface Moment {
  readonly nowMs: EpochMs;
  /** Longest lease that may be in anybody's hands, milliseconds. */
  readonly longestLeaseMs: number;
  /** When a version governs every isolate that reaches the ring in time; at most `nowMs`: it does. */
  readonly governsAtMs: (version: number) => EpochMs;
  /** Used only if a configuration is made. */
  readonly keys: TokenKeys;
}

type Layout = Pick<Tokens, "generator" | "serverIdBytes" | "nonceBytes">;

/** The one configuration of a new pool. Nobody holds another, so it needs no spreading. */
export function firstConfig(layout: Layout, { keys, nowMs }: Pick<Moment, "keys" | "nowMs">): HeldConfig {
  return createConfig(0, layout, keys, { kind: "writing" }, nowMs);
}

/** The configuration that new tokens are made under. */
export function writingConfig(configs: readonly HeldConfig[]): HeldConfig {
  const writing = configs.find(({ phase }) => phase.kind === "writing");
  if (writing === undefined) throw new Error(`none of ${configs.length} token configurations is writing`);
  return writing;
}

/** The configuration that is being spread; null: none. */
export function spreadingConfig(configs: readonly HeldConfig[]): HeldConfig | null {
  return configs.find(({ phase }) => phase.kind === "spreading") ?? null;
}

/** Whether the newest configuration makes other tokens than these settings ask for. */
export function needsRotation(configs: readonly HeldConfig[], layout: Layout): boolean {
  const newest = spreadingConfig(configs) ?? writingConfig(configs);
  return (
    newest.generator !== layout.generator ||
    newest.serverIdBytes !== layout.serverIdBytes ||
    newest.nonceBytes !== layout.nonceBytes
  );
}

/** How many server ids every readable configuration can name, and a snapshot may list. */
export function smallestSpace(configs: readonly HeldConfig[]): number {
  return Math.min(LIMITS.serverIds, ...configs.map(serverIdSpace));
}

/**
 * Adds a configuration, to be spread since `version`: the first phase of a rotation. Refused while another spreads, and
 * while as many are readable as may be.
 */
export function beginRotation(
  { configs, resting }: Held,
  layout: Layout,
  version: number,
  moment: Moment,
): Result<readonly HeldConfig[]> {
  const id = freeCodepoint(configs, resting.codepoints, moment.nowMs);
  const blocked = findBlock(configs, moment) ?? (id === null ? allTaken(resting.codepoints) : null);
  if (blocked !== null) return refuse(blocked);
  const phase = { kind: "spreading", sinceVersion: version } as const;
  const added = createConfig(id ?? 0, layout, moment.keys, phase, moment.nowMs);
  return ok([...configs, added]);
}

/** What takes up codepoints. */
export interface Held {
  readonly configs: readonly HeldConfig[];
  readonly resting: { readonly codepoints: readonly RestingCodepoint[] };
}

function allTaken(resting: readonly RestingCodepoint[]): Refusal {
  const untilMs = codepointFreeMs(resting);
  return conflict(`all ${CODEPOINTS} codepoints are taken${untilMs === null ? "" : ` until ${untilMs}`}`);
}

function codepointFreeMs(resting: readonly RestingCodepoint[]): EpochMs | null {
  return earliest(resting.map(({ untilMs }) => untilMs));
}

function findBlock(configs: readonly HeldConfig[], { governsAtMs, nowMs }: Moment): Refusal | null {
  const spreading = spreadingConfig(configs);
  if (spreading?.phase.kind === "spreading") {
    const untilMs = later(governsAtMs(spreading.phase.sinceVersion), nowMs);
    return conflict(`token configuration ${spreading.id} is being spread until ${untilMs}`);
  }
  const untilMs = firstRetirementMs(configs);
  if (untilMs === null || configs.length < MAX_LIVE_CONFIGS) return null;
  return conflict(
    `${MAX_LIVE_CONFIGS} token configurations are live, the most there may be, until ${untilMs}`,
  );
}

function conflict(why: string): Refusal {
  return { kind: "conflict", detail: `keys cannot be rotated now: ${why}` };
}

/** Going round, a codepoint is used again as late as can be. Null: all are taken. */
function freeCodepoint(
  configs: readonly HeldConfig[],
  resting: readonly RestingCodepoint[],
  nowMs: EpochMs,
): number | null {
  const newest = writingConfig(configs).id;
  const taken = new Set(configs.map(({ id }) => id));
  for (const { id, untilMs } of resting) if (untilMs > nowMs) taken.add(id);
  const inTurn = Array.from({ length: CODEPOINTS }, (_, index) => (newest + 1 + index) % CODEPOINTS);
  return inTurn.find((id) => !taken.has(id)) ?? null;
}

function createConfig(
  id: number,
  { generator, serverIdBytes, nonceBytes }: Layout,
  { key, macKey }: TokenKeys,
  phase: ConfigPhase,
  createdMs: EpochMs,
): HeldConfig {
  return { id, generator, serverIdBytes, nonceBytes, key, macKey, phase, createdMs };
}

/**
 * Latest expiry of a token made under what is published at this moment. An isolate may go on by it until its lease has
 * ended, and past that for `maxStaleMs` when it cannot reach the ring.
 */
export function latestExpiryMs(
  config: Pick<PoolConfig, "tokens" | "sync">,
  moment: Pick<Moment, "nowMs" | "longestLeaseMs">,
): EpochMs {
  return after(forgottenMs(config, moment), config.tokens.lifetimeMs);
}

/** When no isolate routes any more by what is published at this moment, if that changes now. */
export function forgottenMs(
  { sync }: Pick<PoolConfig, "sync">,
  { nowMs, longestLeaseMs }: Pick<Moment, "nowMs" | "longestLeaseMs">,
): EpochMs {
  return leaseEndMs(nowMs, longestLeaseMs + sync.maxStaleMs);
}

/** When there is something to do about configurations; null: never. */
export function nextConfigDeadlineMs(
  { configs, resting }: Held,
  rotateEveryMs: number | null,
  governsAtMs: Moment["governsAtMs"],
): EpochMs | null {
  const { phase } = spreadingConfig(configs) ?? writingConfig(configs);
  const times = [
    firstRetirementMs(configs),
    phase.kind === "spreading"
      ? governsAtMs(phase.sinceVersion)
      : rotationDueMs({ configs, resting }, rotateEveryMs),
  ];
  return earliest(times);
}

/** When the schedule asks for new keys and a codepoint is free; null: never, or not before a configuration retires. */
function rotationDueMs({ configs, resting }: Held, rotateEveryMs: number | null): EpochMs | null {
  if (rotateEveryMs === null || configs.length >= MAX_LIVE_CONFIGS) return null;
  const dueMs = after(writingConfig(configs).createdMs, rotateEveryMs);
  const freeMs =
    freeCodepoint(configs, resting.codepoints, dueMs) === null ? codepointFreeMs(resting.codepoints) : null;
  return freeMs === null ? dueMs : later(dueMs, freeMs);
}

function firstRetirementMs(configs: readonly HeldConfig[]): EpochMs | null {
  return earliest(configs.map(({ phase }) => (phase.kind === "retired" ? phase.untilMs : null)));
}

/**
 * Carries out what is due: drops those whose last token has expired, lets the spreading one be written under once its
 * version governs (the one before it stays readable until `readableUntilMs`), and begins the scheduled rotation. Returns
 * the list itself when nothing was due.
 */
export function advanceConfigs(
  { configs, resting }: Held,
  tokens: Tokens,
  version: number,
  readableUntilMs: EpochMs,
  moment: Moment,
): readonly HeldConfig[] {
  const promoted = promote(dropRetired(configs, moment.nowMs), readableUntilMs, moment);
  if (spreadingConfig(promoted) !== null) return promoted;
  const next = { configs: promoted, resting };
  const dueMs = rotationDueMs(next, tokens.rotateEveryMs);
  if (dueMs === null || dueMs > moment.nowMs) return promoted;
  const rotated = beginRotation(next, tokens, version, moment);
  return rotated.ok ? rotated.value : promoted;
}

function dropRetired(configs: readonly HeldConfig[], nowMs: EpochMs): readonly HeldConfig[] {
  const kept = configs.filter(({ phase }) => phase.kind !== "retired" || phase.untilMs > nowMs);
  return kept.length === configs.length ? configs : kept;
}

function promote(
  configs: readonly HeldConfig[],
  readableUntilMs: EpochMs,
  { governsAtMs, nowMs }: Moment,
): readonly HeldConfig[] {
  const phase = spreadingConfig(configs)?.phase;
  if (phase?.kind !== "spreading" || governsAtMs(phase.sinceVersion) > nowMs) return configs;
  return configs.map((config): HeldConfig => {
    switch (config.phase.kind) {
      case "spreading":
        return { ...config, phase: { kind: "writing" } };
      case "writing":
        return { ...config, phase: { kind: "retired", untilMs: readableUntilMs } };
      case "retired":
        return config;
    }
  });
}
