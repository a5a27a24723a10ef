import type { PoolCommand } from "../model/command.ts";
import type { Refusal } from "../model/refusal.ts";
import { isServing, isWanted } from "./health.ts";
import type { HeldBackend, LiveRing } from "./ring-state.ts";

/** Commands that take backends out one way or another, and that an operator may force. */
const TAKES_OUT = ["drain-backend", "drain-labelled", "disable-backend", "remove-backend"] as const;

type TakesOut = Extract<PoolCommand, { readonly kind: (typeof TAKES_OUT)[number] }>;

/**
 * The slip of taking out the last backend that an operator wants to take new traffic, or the last of them that is well. Null:
 * there is another one, there was none before, or it is forced. Documents and patches are not held up: they say how the pool is to be, and not what to do to
 * one backend of it.
 */
export function findLastBackend(
  { pool, backends }: LiveRing,
  left: readonly Omit<HeldBackend, "serverId">[],
  command: PoolCommand,
): Refusal | null {
  if (!takesOut(command) || command.force === true || left.some(isServing)) return null;
  const wanted = left.some(isWanted) ? [] : backends.filter(isWanted);
  const last = wanted.length > 0 ? wanted : backends.filter(isServing);
  if (last.length === 0) return null;
  const nobody = wanted.length > 0 ? "nobody" : "nobody who is well";
  const ids = last.map(({ id }) => id).join(", ");
  const detail = `${nobody} would be left to take the new traffic of pool ${pool}, which is ${ids} now; with force: true it is done all the same`;
  return { kind: "conflict", detail };
}

function takesOut(command: PoolCommand): command is TakesOut {
  return TAKES_OUT.some((kind) => kind === command.kind);
}
