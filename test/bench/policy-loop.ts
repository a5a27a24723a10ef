import * as v from "valibot";
import { type BackendId, BackendIdSchema } from "../../durable/model/names.ts";
import { PolicySchema } from "../../durable/model/pool.ts";
import { epochMs } from "../../durable/model/time.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import { preparePicker } from "../../worker/core/policies/by-name.ts";
import type { Candidate, PickContext, Picker } from "../../worker/core/policies/policy.ts";
import { SubChannel } from "../../worker/core/sub-channel.ts";

const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");
const NOTHING: ReadonlySet<BackendId> = new Set();

const NOON = epochMs(1_800_000_000_000);

/** Requests that are picked for in turn, their keys hashed beforehand; a power of two. */
const REQUESTS: readonly PickContext[] = Array.from({ length: 4_096 }, (_, index) => ({
  exclude: NOTHING,
  isRetry: false,
  key: hash(`connection ${index}`),
  chance: (index * 0.618_033_988_749_895) % 1,
  nowMs: NOON,
}));

const ANYBODY = v.parse(BackendIdSchema, "anybody");

/** What a repetition costs without any policy. */
const FLOOR: Picker = { pick: ({ chance }) => (chance < 0 ? null : ANYBODY) };

const scenes = new Map<string, () => Picker>();
const pickers = new Map<string, Picker>();

/**
 * The worker inside which policies are timed, from outside: its own clock stands still. It answers with a number that
 * depends on every single pick, so that none can be left out.
 */
const worker = {
  fetch(request: Request): Response {
    const { searchParams } = new URL(request.url);
    const [task, policy = "floor", backends, count] = ["task", "policy", "backends", "count"].map(
      (name) => searchParams.get(name) ?? "",
    );
    const name = `${policy} ${backends}`;
    const prepare = scenes.get(name) ?? createScene(policy, Number(backends));
    scenes.set(name, prepare);
    if (task === "prepare") return new Response(String(repeatPreparing(prepare, Number(count))));
    const picker = pickers.get(name) ?? prepare();
    pickers.set(name, picker);
    return new Response(String(repeatPicking(picker, Number(count))));
  },
};

/** Backends of different weights and latencies, most with something in flight. */
function createScene(policy: string, backends: number): () => Picker {
  const name = PolicySchema.options.find((option) => option === policy);
  if (name === undefined) return () => FLOOR;
  const candidates = Array.from({ length: backends }, (_, index) => ({
    id: v.parse(BackendIdSchema, `backend-${index}.example`),
    weight: 1 + ((index * 7) % 10),
  }));
  const channels = new Map(
    candidates.map((candidate, index) => [candidate.id, createChannel(candidate, index)]),
  );
  const gauge = (id: BackendId) => channels.get(id) ?? null;
  const settings = { hash, chance: 0.5, gauge, ringPoints: 160, hashBalanceFactor: null };
  return () => preparePicker(name, { candidates, previous: null, ...settings });
}

function createChannel({ id, weight }: Candidate, index: number): SubChannel {
  const channel = new SubChannel(
    {
      id,
      weight,
      url: `https://${id}`,
      via: null,
      admits: "new",
      tier: 0,
      servingSinceMs: NOON,
      isEjected: false,
      labels: {},
      serverId: index,
      addedMs: NOON,
      region: null,
    },
    new Set(),
  );
  channel.count("answered", { waitedMs: 5 + (index % 50), timeoutMs: 15_000, nowMs: epochMs(NOON - 1_000) });
  for (let count = index % 5; count > 0; count--) channel.begin();
  return channel;
}

function repeatPicking(picker: Picker, count: number): number {
  let sink = 0;
  for (let index = 0; index < count; index++) {
    const picked = picker.pick(
      REQUESTS[index & 4_095] ?? { exclude: NOTHING, isRetry: false, key: null, chance: 0, nowMs: NOON },
    );
    sink += picked?.length ?? 0;
  }
  return sink;
}

function repeatPreparing(prepare: () => Picker, count: number): number {
  let sink = 0;
  for (let index = 0; index < count; index++) sink += repeatPicking(prepare(), 1);
  return sink;
}

// oxlint-disable-next-line import/no-default-export -- what the runtime calls
export default worker;
