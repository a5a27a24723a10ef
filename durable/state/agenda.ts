import type { PassiveState } from "../model/health.ts";
import type { HealthCheck } from "../model/health-check.ts";
import { type EpochMs, earliest } from "../model/time.ts";
import { stepPassive } from "./ejection.ts";
import { dropExpired, stampServing } from "./health.ts";
import { advanceTokens } from "./pool-tokens.ts";
import type { HeldBackend, LiveRing, RingState } from "./ring-state.ts";
import { type Moment, nextConfigDeadlineMs, spreadingConfig } from "./token-configs.ts";

/** When the ring next has something to do by itself; null: never. `governsAtMs` as in `Moment`. */
export function nextDeadlineMs(state: RingState, governsAtMs: Moment["governsAtMs"]): EpochMs | null {
  if (state.kind === "absent") return null;
  const { reserved } = state.tokens;
  return earliest([
    ...state.backends.map(openDrainUntilMs),
    ...state.backends.flatMap(({ pin, observed }) => [
      pin?.untilMs ?? null,
      observed.announced?.untilMs ?? null,
      observed.passive.kind === "ejected" ? observed.passive.untilMs : null,
    ]),
    ...reserved.map(({ untilMs }) => untilMs),
    nextConfigDeadlineMs(state.tokens, state.config.tokens.rotateEveryMs, governsAtMs),
  ]);
}

/**
 * Whether a drain is running, keys are being spread, or a backend is out for less time than isolates take to ask again, so
 * that those that learned of it would leave it out for longer. Isolates then ask more often. Longer ejections can wait for
 * the usual pace: of their end nobody has to know at once, and they last for minutes.
 */
export function isHurried(state: LiveRing): boolean {
  const { refreshMs } = state.config.sync;
  return (
    state.backends.some((backend) => openDrainUntilMs(backend) !== null) ||
    state.backends.some(({ observed }) => isBriefly(observed.passive, refreshMs)) ||
    spreadingConfig(state.tokens.configs) !== null
  );
}

/**
 * Does all that is due, in one version of its own: closes drains, drops pins and announcements, ends ejections, rotates
 * keys, frees server ids. Returns the state itself when nothing was, so an alarm that comes early, twice or late does no
 * harm.
 */
export function passDeadlines(state: RingState, moment: Moment): RingState {
  if (state.kind === "absent") return state;
  const { nowMs } = moment;
  const kept = dropExpired(closeDrains(state.backends, nowMs), nowMs);
  const passed = endEjections(kept, state.config.health, nowMs);
  const backends = passed === state.backends ? passed : stampServing(state.backends, passed, nowMs);
  const tokens = advanceTokens(state, moment);
  if (backends === state.backends && tokens === state.tokens) return state;
  return { ...state, version: state.version + 1, backends, tokens };
}

/** Deadline of a drain that is still open; null when there is none or it has passed. */
export function openDrainUntilMs(backend: HeldBackend): EpochMs | null {
  return backend.admin.kind === "draining" && !backend.isDrained ? backend.admin.untilMs : null;
}

function isBriefly(passive: PassiveState, refreshMs: number): boolean {
  return passive.kind === "ejected" && passive.untilMs - passive.sinceMs < refreshMs;
}

function endEjections(
  backends: readonly HeldBackend[],
  health: HealthCheck,
  nowMs: EpochMs,
): readonly HeldBackend[] {
  const next = backends.map((backend) => {
    const { observed } = backend;
    const passive = stepPassive(observed.passive, { kind: "time" }, health, nowMs);
    return passive === observed.passive ? backend : { ...backend, observed: { ...observed, passive } };
  });
  return next.some((backend, index) => backend !== backends[index]) ? next : backends;
}

function closeDrains(backends: readonly HeldBackend[], nowMs: EpochMs): readonly HeldBackend[] {
  const isDue = (backend: HeldBackend): boolean => {
    const untilMs = openDrainUntilMs(backend);
    return untilMs !== null && untilMs <= nowMs;
  };
  if (!backends.some(isDue)) return backends;
  return backends.map((backend) => (isDue(backend) ? { ...backend, isDrained: true } : backend));
}
