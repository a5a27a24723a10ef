import * as v from "valibot";
import { isFetcher } from "../../durable/model/fetcher.ts";
import type { BackendId, PoolName } from "../../durable/model/names.ts";
import { invalid, type Refusal } from "../../durable/model/refusal.ts";
import type { PoolView } from "../../durable/model/view.ts";
import { whyUnfetchable } from "../core/address.ts";
import { readObject } from "../edge/ring-client.ts";
import type { PoolContext } from "./pool-requests.ts";

/** What is wrong with where a backend lives; null: nothing. A binding reaches hosts that plain fetch cannot. */
export function checkOrigin(
  context: PoolContext,
  prefix: string,
  { url, via }: { readonly url: string; readonly via: string | null },
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

/** Checks the origin as it would be after a patch that changes half of it. */
export async function checkPatchedOrigin(
  context: PoolContext,
  pool: PoolName,
  id: BackendId,
  { url, via }: { readonly url?: string | undefined; readonly via?: string | null | undefined },
): Promise<Refusal | null> {
  if (url === undefined && via === undefined) return null;
  const view = await readObject<PoolView>(context.env.RING, pool, "view");
  const held = view.ok ? view.value.document.backends.find((backend) => backend.id === id) : undefined;
  // A backend that is not there is for the ring to refuse.
  if (held === undefined) return null;
  return checkOrigin(context, "", { url: url ?? held.url, via: via === undefined ? held.via : via });
}

/**
 * What is wrong with where a pool's webhooks live; null: nothing. `health` may be part of a patch, of which nothing is known
 * yet: what is no webhook is for the ring to refuse.
 */
export function checkWebhooks(context: PoolContext, health: unknown): Refusal | null {
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
