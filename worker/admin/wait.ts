import type { Context } from "hono";
import type { Applied } from "../../durable/model/command.ts";
import { WaitSchema } from "../../durable/model/duration.ts";
import { parse } from "../../durable/model/parse.ts";
import { invalid } from "../../durable/model/refusal.ts";
import { ok, type Result, refuse } from "../../durable/model/result.ts";
import type { ConvergenceRequest, ConvergenceView } from "../../durable/model/view.ts";
import { ObjectUnavailable } from "../core/object-unavailable.ts";
import { callObject } from "../edge/ring-client.ts";
import { versioned } from "./answer.ts";
import type { AdminContext } from "./context.ts";

/** Reads `?wait=10s`, milliseconds; null: the caller does not wait. */
export function readWait(context: Context<AdminContext>): Result<number | null> {
  const sent = context.req.query("wait");
  if (sent === undefined) return ok(null);
  const waitMs = parse(WaitSchema, sent);
  if (waitMs.ok || waitMs.refusal.kind !== "invalid") return waitMs;
  return refuse(invalid("wait", sent, waitMs.refusal.errors[0].range));
}

/** The object that publishes what was changed. */
export interface Publisher {
  readonly namespace: DurableObjectNamespace;
  readonly name: string;
}

/** Asks how far a version has come, and lets the object wait for it to govern. */
function converge(
  context: Context<AdminContext>,
  { namespace, name }: Publisher,
  asked: ConvergenceRequest,
): Promise<Result<ConvergenceView>> {
  const wait = { waitMs: asked.waitMs, gone: context.req.raw.signal };
  return callObject<ConvergenceView>(namespace, name, "converge", asked, wait);
}

/**
 * Answers with what a change did. Where its caller waits, not before it governs everywhere, or with 202 when that takes
 * longer. The change stands even if nobody can tell how far it has come, so that is no error.
 */
export async function written(
  context: Context<AdminContext>,
  publisher: Publisher,
  applied: Applied,
  waitMs: number | null,
): Promise<Response> {
  const { version } = applied;
  const status = applied.created ? 201 : 200;
  if (waitMs === null) return versioned(context, version, applied, status);
  const convergence = await convergenceOf(context, publisher, { version, waitMs });
  const isGoverning = convergence !== null && convergence.governsAtMs === null;
  return versioned(context, version, { ...applied, convergence }, isGoverning ? status : 202);
}

/** How far a change has come, or came while it was waited for; null: nobody can tell. */
export async function convergenceOf(
  context: Context<AdminContext>,
  publisher: Publisher,
  asked: ConvergenceRequest,
): Promise<ConvergenceView["convergence"] | null> {
  try {
    const seen = await converge(context, publisher, asked);
    return seen.ok ? seen.value.convergence : null;
  } catch (error) {
    if (!(error instanceof ObjectUnavailable)) throw error;
    console.warn(error);
    return null;
  }
}

/** Answers how far the present version of what an object publishes has come. */
export async function showConvergence(
  context: Context<AdminContext>,
  publisher: Publisher,
): Promise<Result<Response>> {
  const waitMs = readWait(context);
  if (!waitMs.ok) return waitMs;
  const seen = await converge(context, publisher, { version: null, waitMs: waitMs.value ?? 0 });
  if (!seen.ok) return seen;
  const { version, convergence } = seen.value;
  const isLate = waitMs.value !== null && convergence.governsAtMs !== null;
  return ok(versioned(context, version, { version, ...convergence }, isLate ? 202 : 200));
}
