import type { Health } from "../model/health.ts";
import type { EpochMs } from "../model/time.ts";
import type { HeldBackend } from "./ring-state.ts";

/** How a backend is: what an operator has pinned. */
export function healthOf({ pin }: HeldBackend): Health {
  return pin?.health ?? "healthy";
}

/** Whether an operator wants a backend to take new traffic. */
export function isWanted({ admin, weight }: HeldBackend): boolean {
  return admin.kind === "active" && weight > 0;
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

function isServing(backend: HeldBackend): boolean {
  return isWanted(backend) && healthOf(backend) !== "unhealthy";
}

/** Backends without the pins that have run out; the list itself when none has. */
export function dropPins(backends: readonly HeldBackend[], nowMs: EpochMs): readonly HeldBackend[] {
  const isOut = ({ pin }: HeldBackend): boolean => pin !== null && pin.untilMs <= nowMs;
  if (!backends.some(isOut)) return backends;
  return backends.map((backend) => (isOut(backend) ? { ...backend, pin: null } : backend));
}
