import type { PoolChange } from "../model/command.ts";
import type { BackendId } from "../model/names.ts";
import type { Rehearsal, RehearsedPool } from "../model/preview.ts";
import { ok, type Result } from "../model/result.ts";
import type { EstimatedSessions } from "../model/view.ts";
import { passDeadlines } from "./agenda.ts";
import { projectSnapshot } from "./project.ts";
import { projectTokensView } from "./project-tokens.ts";
import { applyPoolCommand, type CommandContext } from "./ring-command.ts";
import type { RingState } from "./ring-state.ts";

/** Carries a change out on paper, as it would be at this moment: deadlines that are due have passed first. */
export function rehearse(
  state: RingState,
  { pool, command, precondition }: Omit<PoolChange, "author">,
  moment: Omit<CommandContext, "pool" | "precondition">,
  sessionsOf: (id: BackendId) => EstimatedSessions,
): Result<Rehearsal> {
  const present = passDeadlines(state, moment);
  const next = applyPoolCommand(present, command, { ...moment, pool, precondition });
  if (!next.ok) return next;
  const { applied, state: changed } = next.value;
  const isLive = present.kind === "live";
  return ok({
    nowMs: moment.nowMs,
    basedOn: isLive ? present.version : null,
    applied,
    before: toRehearsed(present, moment),
    after: toRehearsed(changed, moment),
    sessions: isLive ? present.backends.map(({ id }) => ({ id, estimated: sessionsOf(id) })) : [],
  });
}

function toRehearsed(
  state: RingState,
  { governsAtMs }: Pick<CommandContext, "governsAtMs">,
): RehearsedPool | null {
  if (state.kind === "absent") return null;
  return {
    snapshot: projectSnapshot(state),
    admin: state.backends.map(({ id, admin }) => ({ id, admin })),
    freeServerIds: projectTokensView(state, governsAtMs).serverIds.free,
  };
}
