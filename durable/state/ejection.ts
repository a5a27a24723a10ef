import type { EjectionCause, PassiveState } from "../model/health.ts";
import type { HealthCheck } from "../model/health-check.ts";
import { after, type EpochMs } from "../model/time.ts";
import { nextIsolationMs } from "./breaker.ts";
import { isServing, isWanted } from "./health.ts";
import type { HeldBackend } from "./ring-state.ts";

/** What happens to a backend in the eyes of passive observation. */
export type PassiveEvent =
  | { readonly kind: "eject"; readonly cause: EjectionCause }
  /** Time has gone by. */
  | { readonly kind: "time" }
  /** The trial after an isolation went well for long enough. */
  | { readonly kind: "trial_passed" }
  /** Its probes say that it is well. */
  | { readonly kind: "probe_passed" };

/** The next state; the state itself where the event means nothing to it. */
export function stepPassive(
  passive: PassiveState,
  event: PassiveEvent,
  health: HealthCheck,
  nowMs: EpochMs,
): PassiveState {
  switch (event.kind) {
    case "eject":
      return passive.kind === "ejected" ? passive : eject(passive, event.cause, health, nowMs);
    case "time":
      return passive.kind === "ejected" && passive.untilMs <= nowMs
        ? readmit(passive, health, nowMs)
        : passive;
    case "trial_passed":
      return passive.kind === "half_open" ? { ...passive, kind: "in" } : passive;
    case "probe_passed":
      return passive.kind === "ejected" ? readmit(passive, health, nowMs) : passive;
  }
}

/**
 * Whether one more backend that is in service may be ejected: at most `maxPercent` of those that are wanted, but always
 * one, and never so that less than `minAvailablePercent` of them stay in service. An ejected one counts until its time is
 * over even if it is pinned or not wanted meanwhile, since either may end before.
 */
export function mayEject(
  backends: readonly HeldBackend[],
  { maxPercent, minAvailablePercent }: HealthCheck["ejection"],
): boolean {
  const wanted = backends.filter(isWanted).length;
  const ejected = backends.filter(isEjected).length;
  const serving = backends.filter((backend) => isServing(backend) && !isEjected(backend)).length;
  const most = Math.max(1, Math.floor((maxPercent * wanted) / 100));
  return ejected < most && 100 * (serving - 1) >= minAvailablePercent * wanted;
}

function isEjected({ observed }: HeldBackend): boolean {
  return observed.passive.kind === "ejected";
}

/** Out, for longer the more often that was so of late. */
function eject(
  passive: Exclude<PassiveState, { kind: "ejected" }>,
  cause: EjectionCause,
  health: HealthCheck,
  nowMs: EpochMs,
): PassiveState {
  const { baseMs, maxMs } = health.ejection;
  const heldMs = nowMs - passive.sinceMs;
  const left = Math.max(0, passive.times - Math.floor(heldMs / baseMs));
  if (cause === "breaker") {
    // A trial that fails was no time in service, however long it took.
    const isolationMs = nextIsolationMs(
      passive.isolationMs,
      passive.kind === "half_open" ? 0 : heldMs,
      health.breaker,
    );
    const untilMs = after(nowMs, isolationMs);
    return { kind: "ejected", cause, times: left, isolationMs, sinceMs: nowMs, untilMs };
  }
  // No more than make it last longest, as in Envoy: else an outage of a day would be remembered for hours.
  const times = Math.min(left + 1, Math.ceil(maxMs / baseMs));
  const { isolationMs } = passive;
  const untilMs = after(nowMs, Math.min(maxMs, times * baseMs));
  return { kind: "ejected", cause, times, isolationMs, sinceMs: nowMs, untilMs };
}

function readmit(
  { cause, times, isolationMs }: Extract<PassiveState, { kind: "ejected" }>,
  health: HealthCheck,
  nowMs: EpochMs,
): PassiveState {
  const { enforce, halfOpenSuccesses } = health.breaker;
  const isOnTrial = cause === "breaker" && enforce && halfOpenSuccesses > 0;
  return { kind: isOnTrial ? "half_open" : "in", times, isolationMs, sinceMs: nowMs };
}
