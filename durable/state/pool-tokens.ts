import type { PoolConfig } from "../model/pool.ts";
import { ok, type Result } from "../model/result.ts";
import { type EpochMs, epochMs, later } from "../model/time.ts";
import type { HeldTokens, LiveRing } from "./ring-state.ts";
import type { ReservedServerId } from "./server-ids.ts";
import {
  advanceConfigs,
  beginRotation,
  firstConfig,
  forgottenMs,
  type HeldConfig,
  latestExpiryMs,
  type Moment,
  needsRotation,
} from "./token-configs.ts";

/** The tokens of a new pool. */
export function newTokens(
  { tokens }: Pick<PoolConfig, "tokens">,
  moment: Pick<Moment, "keys" | "nowMs">,
): HeldTokens {
  return {
    configs: [firstConfig(tokens, moment)],
    reserved: [],
    resting: { serverIds: [], codepoints: [] },
    issuedUntilMs: epochMs(0),
  };
}

/** What a command makes of a pool's tokens. */
interface TokenChange {
  readonly config: PoolConfig;
  readonly backends: readonly { readonly id: string }[];
  readonly isRotation: boolean;
}

/**
 * The tokens of a pool after a command: new keys are spread when it asks for them or for tokens of another layout, and the
 * server ids of backends that it removes are reserved while a token that names them may be alive.
 */
export function nextTokens(state: LiveRing, change: TokenChange, moment: Moment): Result<HeldTokens> {
  const configs = nextConfigs(state, change, moment);
  if (!configs.ok) return configs;
  const reserved = [...state.tokens.reserved, ...reserveRemoved(state, change, moment)];
  return ok({
    ...state.tokens,
    configs: configs.value,
    reserved,
    issuedUntilMs: issuedUntilMs(state, change, moment),
  });
}

function nextConfigs(
  { tokens, version }: LiveRing,
  { config, isRotation }: TokenChange,
  moment: Moment,
): Result<readonly HeldConfig[]> {
  return isRotation || needsRotation(tokens.configs, config.tokens)
    ? beginRotation(tokens, config.tokens, version + 1, moment)
    : ok(tokens.configs);
}

function reserveRemoved(
  state: LiveRing,
  { backends }: TokenChange,
  moment: Moment,
): readonly ReservedServerId[] {
  const kept = new Set<string>(backends.map(({ id }) => id));
  const untilMs = readableUntilMs(state, moment);
  return state.backends
    .filter(({ id }) => !kept.has(id))
    .map(({ id, serverId }) => ({ id, serverId, untilMs }));
}

function issuedUntilMs(state: LiveRing, { config }: TokenChange, moment: Moment): EpochMs {
  const isAsBefore =
    config.tokens.lifetimeMs === state.config.tokens.lifetimeMs &&
    config.sync.maxStaleMs === state.config.sync.maxStaleMs;
  return isAsBefore ? state.tokens.issuedUntilMs : readableUntilMs(state, moment);
}

/** The tokens of a pool once all that is due was done; the same ones when nothing was. */
export function advanceTokens(state: LiveRing, moment: Moment): HeldTokens {
  const { configs, reserved } = state.tokens;
  const untilMs = readableUntilMs(state, moment);
  const next = advanceConfigs(state.tokens, state.config.tokens, state.version + 1, untilMs, moment);
  const kept = reserved.filter((each) => each.untilMs > moment.nowMs);
  if (next === configs && kept.length === reserved.length) return state.tokens;
  const resting = nextResting(state, next, kept, moment);
  return { ...state.tokens, configs: next, reserved: kept, resting };
}

/** What rests once these configurations and reservations are all that is held. */
function nextResting(
  { tokens, config }: LiveRing,
  configs: readonly HeldConfig[],
  reserved: readonly ReservedServerId[],
  moment: Moment,
): HeldTokens["resting"] {
  const untilMs = forgottenMs(config, moment);
  const held = new Set(configs.map(({ id }) => id));
  const dropped = tokens.configs.filter(({ id }) => !held.has(id)).map(({ id }) => ({ id, untilMs }));
  const freed = tokens.reserved
    .filter((each) => !reserved.includes(each))
    .map(({ serverId }) => ({ serverId, untilMs }));
  const { codepoints, serverIds } = tokens.resting;
  return {
    codepoints: [...codepoints.filter((each) => each.untilMs > moment.nowMs), ...dropped],
    serverIds: [...serverIds.filter((each) => each.untilMs > moment.nowMs), ...freed],
  };
}

/** Latest expiry of any token that was made for this pool, or may yet be by what is published. */
function readableUntilMs({ tokens, config }: LiveRing, moment: Moment): EpochMs {
  return later(tokens.issuedUntilMs, latestExpiryMs(config, moment));
}
