import * as v from "valibot";
import { type BackendId, BackendIdSchema } from "../../durable/model/names.ts";
import { DEFAULT_POOL_CONFIG, PolicySchema } from "../../durable/model/pool.ts";
import { epochMs } from "../../durable/model/time.ts";
import { Availability } from "../../worker/core/availability.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import { preparePicker } from "../../worker/core/policies/by-name.ts";
import type { Candidate, PickContext, Picker } from "../../worker/core/policies/policy.ts";
import { RoundRobin } from "../../worker/core/policies/round-robin.ts";
import { SubChannel } from "../../worker/core/sub-channel.ts";
import { PEERS } from "./peers.ts";

const hash = createKeyedHash("000102030405060708090a0b0c0d0e0f");
const NOTHING: ReadonlySet<BackendId> = new Set();

const NOON = epochMs(1_800_000_000_000);

/** A request that is picked for: our policies get its key hashed, others' hash the text themselves. */
interface Keyed extends PickContext {
  readonly text: string;
}

/** Requests that are picked for in turn; a power of two. */
const REQUESTS: readonly Keyed[] = Array.from({ length: 4_096 }, (_, index) => ({
  exclude: NOTHING,
  isRetry: false,
  text: `connection ${index}`,
  key: hash(`connection ${index}`),
  chance: (index * 0.618_033_988_749_895) % 1,
  nowMs: NOON,
}));

const [ANY_REQUEST] = REQUESTS as readonly [Keyed];

/** What is timed. */
interface Choosing {
  pick(request: Keyed): string | null;
}

/** What a repetition costs without any policy. */
const FLOOR: Choosing = { pick: ({ chance }) => (chance < 0 ? null : "anybody") };

const scenes = new Map<string, () => Choosing>();
const pickers = new Map<string, Choosing>();

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
function createScene(title: string, backends: number): () => Choosing {
  const isWide = title.includes("wide weights");
  const candidates = Array.from({ length: backends }, (_, index) => ({
    id: v.parse(BackendIdSchema, `backend-${index}.example`),
    weight: isWide ? 1 + ((index * 607) % 1_000) : 1 + ((index * 7) % 10),
  }));
  const channels = new Map(
    candidates.map((candidate, index) => [candidate.id, createChannel(candidate, index)]),
  );
  const gauge = (id: BackendId) => channels.get(id) ?? null;
  const settings = { hash, chance: 0.5, gauge, ringPoints: 160 };
  const preparation = { candidates, previous: null, ...settings };
  const [plain, condition] = title.split(", ");
  const name = PolicySchema.options.find((option) => option === plain);
  if (name !== undefined) {
    return () => {
      if (condition === "half bound") return halfBound(RoundRobin.prepare(preparation), candidates);
      const picker = preparePicker(name, preparation);
      return condition === "one full" ? oneFull(picker, candidates) : picker;
    };
  }
  const preparePeer = PEERS[title];
  if (preparePeer === undefined) return () => FLOOR;
  return () => {
    const lookUp = preparePeer(candidates);
    return { pick: ({ text }) => lookUp(text) };
  };
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
      isLastResort: false,
      labels: {},
      serverId: index,
      addedMs: NOON,
      region: null,
    },
    DEFAULT_POOL_CONFIG,
    new Availability(),
  );
  channel.count("answered", {
    waitedMs: 5 + (index % 50),
    timeoutMs: 15_000,
    isUnhindered: true,
    nowMs: epochMs(NOON - 1_000),
  });
  for (let count = index % 5; count > 0; count--) channel.begin(NOON);
  return channel;
}

/** Picks of which none may take the one in the middle. */
function oneFull(picker: Picker, candidates: readonly Candidate[]): Choosing {
  const exclude = new Set(
    candidates
      .slice(candidates.length >> 1)
      .slice(0, 1)
      .map(({ id }) => id),
  );
  const requests = REQUESTS.map((request) => ({ ...request, exclude }));
  let at = 0;
  return { pick: () => picker.pick(requests[at++ & 4_095] ?? ANY_REQUEST) };
}

/** Picks after every one of which a bound request is charged, so that no cycle is undisturbed. */
function halfBound(picker: RoundRobin, candidates: readonly Candidate[]): Choosing {
  return {
    pick(request) {
      const bound = candidates[Math.floor(request.chance * candidates.length)];
      if (bound !== undefined) picker.charge(bound.id, 16);
      return picker.pick(request);
    },
  };
}

function repeatPicking(picker: Choosing, count: number): number {
  let sink = 0;
  for (let index = 0; index < count; index++) {
    const picked = picker.pick(REQUESTS[index & 4_095] ?? ANY_REQUEST);
    sink += picked?.length ?? 0;
  }
  return sink;
}

function repeatPreparing(prepare: () => Choosing, count: number): number {
  let sink = 0;
  for (let index = 0; index < count; index++) sink += repeatPicking(prepare(), 1);
  return sink;
}

// oxlint-disable-next-line import/no-default-export -- what the runtime calls
export default worker;
