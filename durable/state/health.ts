import type { Health, Observed } from "../model/health.ts";
import type { HealthCheck } from "../model/health-check.ts";
import type { EpochMs } from "../model/time.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";

/** How a backend is: what an operator has pinned, else the worst of what is observed. */
export function healthOf({ pin, observed }: Pick<HeldBackend, "pin" | "observed">): Health {
  if (pin !== null) return pin.health;
  const { probe, passive, announced } = observed;
  if (probe.verdict === "unhealthy" || probe.verdict === "waiting" || passive.kind === "ejected")
    return "unhealthy";
  return probe.verdict === "degraded" || announced?.word === "degraded" ? "degraded" : "healthy";
}

/** Whether a backend has asked for no new sessions, by a probe's 404 or its own word. A pin overrules that too. */
export function isStopping({ pin, observed }: Pick<HeldBackend, "pin" | "observed">): boolean {
  return pin === null && (observed.probe.isStopping || observed.announced?.word === "draining");
}

/** What is known of a backend of which nothing has been seen. */
export function unobserved({ probe, startsAs }: HealthCheck, nowMs: EpochMs): Observed {
  const verdict = probe !== null && startsAs === "unhealthy" ? "waiting" : null;
  return {
    probe: { verdict, isStopping: false, streak: 0, sinceMs: nowMs },
    passive: { kind: "in", times: 0, isolationMs: 0, sinceMs: nowMs },
    announced: null,
  };
}

/** Whether an operator wants a backend to take new traffic. */
export function isWanted({ admin, weight }: Pick<HeldBackend, "admin" | "weight">): boolean {
  return admin.kind === "active" && weight > 0;
}

/**
 * A pool of which more was observed. The version grows only if that changes how it routes; counts that lead to nothing yet
 * are kept, but isolates need not hear of them.
 */
export function withObserved(state: LiveRing, backends: readonly HeldBackend[], nowMs: EpochMs): LiveRing {
  const standing = new Map(state.backends.map((backend) => [backend.id, standingOf(backend)]));
  const isNews = backends.some((backend) => standing.get(backend.id) !== standingOf(backend));
  if (!isNews) return { ...state, backends };
  return { ...state, version: state.version + 1, backends: stampServing(state.backends, backends, nowMs) };
}

function standingOf(backend: HeldBackend): string {
  return `${healthOf(backend)} ${isStopping(backend)}`;
}

/** Backends with the time since when each takes new traffic, which begins anew whenever it did not before. */
export function stampServing(
  before: readonly HeldBackend[],
  after: readonly HeldBackend[],
  nowMs: EpochMs,
): readonly HeldBackend[] {
  const serving = new Set(before.filter(isServing).map(({ id }) => id));
  return after.map((backend) =>
    isServing(backend) && !serving.has(backend.id) && backend.servingSinceMs !== nowMs
      ? { ...backend, servingSinceMs: nowMs }
      : backend,
  );
}

/** Whether a backend takes new traffic without its pool having to panic. */
export function isServing(backend: Omit<HeldBackend, "serverId">): boolean {
  return isWanted(backend) && healthOf(backend) !== "unhealthy" && !isStopping(backend);
}

/** Backends without the pins and announcements that have run out; the list itself when none has. */
export function dropExpired(backends: readonly HeldBackend[], nowMs: EpochMs): readonly HeldBackend[] {
  const isOut = (held: { readonly untilMs: EpochMs } | null): boolean =>
    held !== null && held.untilMs <= nowMs;
  if (!backends.some(({ pin, observed }) => isOut(pin) || isOut(observed.announced))) return backends;
  return backends.map((backend) => {
    const { pin, observed } = backend;
    return {
      ...backend,
      pin: isOut(pin) ? null : pin,
      observed: isOut(observed.announced) ? { ...observed, announced: null } : observed,
    };
  });
}
