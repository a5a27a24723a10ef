import type { Context } from "hono";
import * as v from "valibot";
import { isFetcher } from "../../durable/model/fetcher.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import type { BackendId, PoolName } from "../../durable/model/names.ts";
import { type FieldError, invalid, type Refusal } from "../../durable/model/refusal.ts";
import { ok, type Result, refuse } from "../../durable/model/result.ts";
import type { PoolView } from "../../durable/model/view.ts";
import { whyUnfetchable } from "../core/address.ts";
import { readObject } from "../edge/ring-client.ts";
import { type AdminContext, noPoolNamed } from "./context.ts";

interface Origin {
  readonly url: string;
  readonly via: string | null;
}

/** What is wrong with where a backend lives; null: nothing. A binding reaches hosts that plain fetch cannot. */
export function checkOrigin(
  context: Context<AdminContext>,
  prefix: string,
  { url, via }: Origin,
): Refusal | null {
  if (via !== null) {
    return isFetcher(context.env[via])
      ? null
      : invalid(`${prefix}via`, via, "must name a Fetcher binding of this worker");
  }
  if (context.get("settings").arePrivateBackendsAllowed) return null;
  const why = whyUnfetchable(url);
  return why === null ? null : invalid(`${prefix}url`, url, why);
}

/**
 * Checks the origin as it would be after a patch that changes half of it.
 *
 * @returns the version of the pool that it was checked against; null: the patch changes none of it.
 */
export async function checkPatchedOrigin(
  context: Context<AdminContext>,
  pool: PoolName,
  id: BackendId,
  { url, via }: { readonly url?: string | undefined; readonly via?: string | null | undefined },
): Promise<Result<number | null>> {
  if (url === undefined && via === undefined) return ok(null);
  const view = await readObject<PoolView>(context.env.RING, pool, "view");
  if (!view.ok) return refuse(noPoolNamed(pool, view.refusal));
  const { version, document } = view.value;
  const held = document.backends.find((backend) => backend.id === id);
  // A backend that is not there is for the ring to refuse.
  if (held === undefined) return ok(version);
  const wrong = checkOrigin(context, "", { url: url ?? held.url, via: via === undefined ? held.via : via });
  return wrong === null ? ok(version) : refuse(wrong);
}

/**
 * What is wrong with where a pool's webhooks live; null: nothing. `health` may be part of a patch, of which nothing is known
 * yet: what is no webhook is for the ring to refuse.
 */
export function checkWebhooks(context: Context<AdminContext>, health: unknown): Refusal | null {
  if (context.get("settings").arePrivateBackendsAllowed) return null;
  const parsed = v.safeParse(WrittenWebhooksSchema, health);
  if (!parsed.success) return null;
  for (const [index, webhook] of parsed.output.webhooks.entries()) {
    const url = v.is(WrittenUrlSchema, webhook) ? webhook.url : null;
    if (url === null || !URL.canParse(url)) continue;
    const why = new URL(url).protocol === "https:" ? whyUnfetchable(url) : "must begin with https://";
    if (why !== null) return invalid(`health.webhooks.${index}.url`, url, why);
  }
  return null;
}

const WrittenWebhooksSchema = v.object({ webhooks: v.array(v.unknown()) });
const WrittenUrlSchema = v.object({ url: v.string() });

/** All that is wrong with the places that a whole pool names: of each backend, and of its webhooks. */
export function checkOrigins(
  context: Context<AdminContext>,
  document: { readonly backends: readonly Origin[]; readonly health: unknown },
): readonly FieldError[] {
  const refusals = [
    ...document.backends.map((backend, index) => checkOrigin(context, `backends.${index}.`, backend)),
    checkWebhooks(context, document.health),
  ];
  return refusals.flatMap((refusal) => (refusal?.kind === "invalid" ? refusal.errors : []));
}

/** Whether a pool is too large to be sent to its ring as one; backend by backend it may have grown beyond that. */
export function checkSize(document: object): readonly FieldError[] {
  const { byteLength } = new TextEncoder().encode(JSON.stringify(document));
  if (byteLength <= LIMITS.poolBytes) return [];
  return [
    { field: "", value: byteLength, range: `bytes are too many; a whole pool may have ${LIMITS.poolBytes}` },
  ];
}
