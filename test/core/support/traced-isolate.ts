import type { BackendId } from "../../../durable/model/names.ts";
import type { Affinity, PolicyName } from "../../../durable/model/pool.ts";
import type {
  Admits,
  Snapshot,
  SnapshotBackend,
  Tier,
  TokenConfig,
} from "../../../durable/model/snapshot.ts";
import { after, type EpochMs } from "../../../durable/model/time.ts";
import type { Choice, Chosen } from "../../../worker/core/choice.ts";
import { PoolView } from "../../../worker/core/pool-view.ts";
import { TOKEN_RANDOM_BYTES } from "../../../worker/core/sessions.ts";
import type { SubChannel } from "../../../worker/core/sub-channel.ts";
import type { WantedSubset } from "../../../worker/core/subset.ts";
import { encodeTrace } from "../../../worker/core/trace.ts";
import { Tracer } from "../../../worker/core/tracer.ts";
import type { Wishes } from "../../../worker/core/wishes.ts";
import { NOON, poolName, snapshot, TOKEN_CONFIG } from "./build.ts";
import type { Dice } from "./dice.ts";
import { frozen } from "./frozen.ts";
import { connection, poolConfig } from "./visit.ts";

/** A request that was decided, and what an operator gets to see of it. */
export interface TracedDecision {
  /** The value of the header. */
  readonly trace: string;
  readonly snapshot: Snapshot;
  readonly wishes: Wishes;
  /** What came of each attempt. */
  readonly choices: readonly (BackendId | Exclude<Choice["kind"], "backend">)[];
}

const POLICIES: readonly PolicyName[] = [
  "round_robin",
  "random",
  "first",
  "least_request",
  "peak_ewma",
  "rendezvous",
  "maglev",
  "ring_hash",
];

const CHAINS: readonly Affinity[] = [
  [],
  [],
  [{ by: "token" }],
  [{ by: "connection" }],
  [{ by: "token" }, { by: "connection" }],
  [{ by: "header", name: "x-user" }, { by: "address" }],
  [{ by: "token" }, { by: "header", name: "x-user" }],
];

const FRESH = { ageMs: 0, isDegraded: false };

const IDS = ["a", "b", "c", "d", "e", "f", "g"];

/** An isolate that serves whatever the dice say from a pool that changes as they say, and traces all of it. */
export class TracedIsolate {
  readonly #dice: Dice;
  #nowMs: EpochMs = NOON;
  #snapshot: Snapshot;
  readonly #view: PoolView;
  readonly #open: SubChannel[] = [];
  readonly #tokens: string[] = ["made-up"];

  constructor(dice: Dice) {
    this.#dice = dice;
    this.#snapshot = this.#draw(1, [TOKEN_CONFIG]);
    this.#view = new PoolView(this.#snapshot, this.#nowMs, dice.next());
  }

  /** Lets something happen, then serves one request. */
  serve(): TracedDecision {
    const dice = this.#dice;
    if (dice.isLucky(0.4)) this.#nowMs = after(this.#nowMs, dice.one([1, 70, 900, 40_000]));
    if (dice.isLucky(0.1)) this.#change();
    while (this.#open.length > 0 && dice.isLucky(0.45)) this.#end();
    return this.#request();
  }

  #request(): TracedDecision {
    const dice = this.#dice;
    const wishes = this.#wishes();
    const tracer = new Tracer();
    const tried = new Set<BackendId>();
    const choices: TracedDecision["choices"][number][] = [];
    for (;;) {
      const attempt = tracer.attempt(FRESH, tried.size === 0 ? "FA" : "RT");
      const { notes } = attempt;
      const [nowMs, chance] = [this.#nowMs, dice.next()];
      const isLast = tried.size > 0 && !this.#view.admitsBeside(tried);
      const asked = { ...wishes, nowMs, chance, tried, hasWaited: dice.isLucky(0.05), notes };
      const choice = isLast ? this.#view.chooseLast(asked) : this.#view.choose(asked);
      attempt.chose(choice, this.#view);
      choices.push(choice.kind === "backend" ? choice.channel.id : choice.kind);
      if (choice.kind !== "backend") break;
      this.#keepToken(choice);
      const { channel } = choice;
      if (!dice.isLucky(0.25) || tried.size === 2) {
        this.#open.push(channel);
        break;
      }
      channel.count("unreachable", {
        waitedMs: dice.one([0, 3.5, 40]),
        timeoutMs: 1_000,
        isUnhindered: true,
        nowMs,
      });
      channel.end();
      tried.add(channel.id);
    }
    return { trace: encodeTrace(tracer.trace), snapshot: this.#snapshot, wishes, choices };
  }

  #keepToken(choice: Chosen): void {
    const [header] = this.#view.issue(choice, this.#nowMs, this.#dice.bytes(TOKEN_RANDOM_BYTES));
    if (header !== undefined) this.#tokens.push(header[1].split(";", 1)[0] ?? "");
  }

  #wishes(): Wishes {
    const dice = this.#dice;
    const { policy, affinity } = this.#snapshot.config;
    const headers = new Headers({ cookie: dice.one([dice.one(this.#tokens), this.#tokens.at(-1) ?? ""]) });
    if (dice.isLucky(0.5)) headers.set("x-user", `user ${Math.floor(20 * dice.next())}`);
    const from = dice.one(["192.0.2.1 FRA", "192.0.2.2 AMS"]);
    const subset: WantedSubset | null = dice.isLucky(0.7)
      ? null
      : {
          label: "zone",
          value: dice.one(["east", "west", "nowhere", null]),
          fallback: dice.one(["any", "none"] as const),
        };
    return {
      policy: dice.isLucky(0.8) ? policy : dice.one(POLICIES),
      affinity: dice.isLucky(0.8) ? affinity : dice.one(CHAINS),
      subset,
      credentials: {
        headers,
        query: "",
        clientAddress: dice.one([null, "192.0.2.1"]),
        connection: dice.isLucky(0.3) ? null : connection(`tls ${Math.floor(12 * dice.next())}`, from),
      },
    };
  }

  /** One that is open ends, as the dice say. */
  #end(): void {
    const dice = this.#dice;
    const [channel] = this.#open.splice(Math.floor(dice.next() * this.#open.length), 1);
    if (channel === undefined) return;
    const outcome = dice.one(["answered", "answered", "answered", "gateway_error"] as const);
    channel.count(outcome, {
      waitedMs: 200 * dice.next(),
      timeoutMs: 1_000,
      isUnhindered: true,
      nowMs: this.#nowMs,
    });
    channel.end();
  }

  #change(): void {
    const { version, tokens } = this.#snapshot;
    const key = (version + 16).toString(16).padStart(32, "0");
    const rotated: readonly TokenConfig[] = this.#dice.isLucky(0.2)
      ? [{ ...TOKEN_CONFIG, id: version % 7, key, macKey: key }]
      : tokens.configs;
    this.#snapshot = this.#draw(version + 1, rotated);
    this.#view.adopt(this.#snapshot, this.#nowMs, this.#dice.next());
  }

  /** A pool as the dice say. */
  #draw(version: number, configs: readonly TokenConfig[]): Snapshot {
    const dice = this.#dice;
    const isTiered = dice.isLucky(0.3);
    const isIll = dice.isLucky(0.2);
    const present = new Set(IDS.filter(() => dice.isLucky(0.85)));
    const { backends, tokens } = snapshot(
      Object.fromEntries(IDS.map((id) => [id, this.#backend(isTiered, isIll)])),
      {},
    );
    const tiers = isTiered ? [this.#tier(0, 60), this.#tier(1, 40)] : [this.#tier(0, 100)];
    return frozen({
      pool: poolName("shop"),
      incarnation: "first-life",
      version,
      secret: "000102030405060708090a0b0c0d0e0f",
      config: this.#config(),
      tokens: {
        ...tokens,
        writeId: configs[0]?.id ?? 0,
        configs,
        removed: backends.filter(({ id }) => !present.has(id)).map(({ id, serverId }) => ({ id, serverId })),
      },
      tiers,
      backends: backends.filter(({ id }) => present.has(id)),
    });
  }

  #tier(priority: number, sharePercent: number): Tier {
    return { priority, isDegraded: false, sharePercent, isPanicking: this.#dice.isLucky(0.2) };
  }

  #backend(isTiered: boolean, isIll: boolean): Partial<SnapshotBackend> {
    const dice = this.#dice;
    const admits = dice.one<Admits>(
      isIll ? ["new", "none", "none"] : ["new", "new", "new", "new", "sticky", "none"],
    );
    return {
      weight: dice.one([1, 1, 2, 5]),
      admits,
      isEjected: admits === "none" && dice.isLucky(0.5),
      isLastResort: admits === "none" && dice.isLucky(0.7),
      tier: isTiered && dice.isLucky(0.4) ? 1 : 0,
      labels: { zone: dice.one(["east", "west"]) },
      servingSinceMs: after(this.#nowMs, -dice.one([0, 2_000, 50_000, 1_000_000])),
      addedMs: after(this.#nowMs, -dice.one([0, 50_000])),
    };
  }

  #config() {
    const dice = this.#dice;
    const isShedding = dice.isLucky(0.15);
    return poolConfig({
      policy: dice.one(POLICIES),
      keylessPolicy: dice.one(POLICIES.slice(0, 5)),
      affinity: dice.one(CHAINS),
      hashBalanceFactor: dice.one([null, 120]),
      maxInFlight: dice.one([null, 2, 6]),
      slowStart: dice.one([{}, { windowMs: 60_000, aggression: 2 }]),
      shed: isShedding ? { newPercent: 30, sessionPercent: 20 } : {},
      stickyDebtRounds: dice.one([0, 16]),
      ringPoints: 40,
      health: { local: { connectFailures: 2, minSkipMs: dice.one([100, 30_000]) } },
      sessions: {
        maxRequests: dice.one([null, 3]),
        maxAgeMs: dice.one([null, 60_000]),
        lost: {
          drained: dice.one(["sticky", "temporary", "refuse"]),
          ejected: dice.one(["sticky", "temporary", "refuse"]),
        },
      },
    });
  }
}
