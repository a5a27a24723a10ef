import type { PoolCommand } from "../../../durable/model/command.ts";
import type { Snapshot } from "../../../durable/model/snapshot.ts";
import { after, type EpochMs, epochMs } from "../../../durable/model/time.ts";
import { isHurried, nextDeadlineMs, passDeadlines } from "../../../durable/state/agenda.ts";
import { answerSync } from "../../../durable/state/answer-sync.ts";
import { LeaseLedger } from "../../../durable/state/lease-ledger.ts";
import { pace } from "../../../durable/state/pacing.ts";
import { projectSnapshot } from "../../../durable/state/project.ts";
import { applyPoolCommand } from "../../../durable/state/ring-command.ts";
import type { LiveRing, RingState } from "../../../durable/state/ring-state.ts";
import type { Moment } from "../../../durable/state/token-configs.ts";
import { type Held, install, mayServeStale } from "../../../worker/core/lease.ts";
import { NOON, pool } from "./build.ts";
import { frozen } from "./frozen.ts";

export type TokenStep =
  | { readonly kind: "command"; readonly command: PoolCommand }
  /** An isolate asks for changes; of the answer nothing may come. */
  | { readonly kind: "sync"; readonly isolate: number; readonly isLost: boolean }
  /** The ring looks at its deadlines. */
  | { readonly kind: "alarm" }
  /** The ring loses its memory; only its state and the longest lease are stored. */
  | { readonly kind: "restart" };

/** A token that an isolate made, as far as the ring has to answer for it. */
interface Issued {
  readonly macKey: string;
  readonly serverId: number;
  readonly id: string;
  readonly expiresMs: EpochMs;
}

interface Isolate {
  seq: number;
  held: Held<Snapshot> | null;
}

/**
 * A ring and some isolates in virtual time, made of the real commands, deadlines, ledger and installation of replies. At
 * every step every isolate that may serve, also without the ring, makes a token for every backend it knows.
 */
export class TokenWorld {
  /** What went wrong, in words; empty while every promise holds. */
  readonly broken: string[] = [];
  ring: LiveRing = pool({ a: 1, b: 1 });

  readonly #isolates: readonly Isolate[];
  #ledger: LeaseLedger;
  #storedLeaseMs = 0;
  #nowMs: EpochMs = NOON;
  #issued: readonly Issued[] = [];
  #madeKeys = 0;

  constructor(isolates: number) {
    this.#isolates = Array.from({ length: isolates }, () => ({ seq: 0, held: null }));
    this.#ledger = new LeaseLedger(0, NOON);
  }

  get nowMs(): EpochMs {
    return this.#nowMs;
  }

  take(step: TokenStep, afterMs = 0): this {
    const sinceMs = this.#nowMs;
    this.#nowMs = after(sinceMs, afterMs);
    this.#issue(sinceMs);
    switch (step.kind) {
      case "command":
        this.#pass();
        this.#apply(step.command);
        break;
      case "sync":
        this.#pass();
        this.#sync(step.isolate, step.isLost);
        break;
      case "alarm":
        this.#pass();
        break;
      case "restart":
        this.#ledger = new LeaseLedger(this.#storedLeaseMs, this.#nowMs);
        break;
    }
    this.#issue(this.#nowMs);
    this.#check();
    return this;
  }

  /** When the ring next has something to do by itself; null: never. */
  get deadlineMs(): EpochMs | null {
    return nextDeadlineMs(this.ring, this.#moment().governsAtMs);
  }

  #moment(): Moment {
    const [ledger, nowMs] = [this.#ledger, this.#nowMs];
    const key = String(++this.#madeKeys).padStart(32, "0");
    return {
      nowMs,
      longestLeaseMs: ledger.longestLeaseMs,
      governsAtMs: (version) => ledger.governsAtMs(version, nowMs),
      keys: { key, macKey: key },
    };
  }

  #pass(): void {
    this.#adopt(passDeadlines(frozen(this.ring), this.#moment()));
  }

  #apply(command: PoolCommand): void {
    const context = {
      ...this.#moment(),
      pool: this.ring.pool,
      precondition: { ifMatch: null, ifAbsent: false },
      birth: { incarnation: "again", secret: "" },
    };
    const result = applyPoolCommand(frozen(this.ring), command, context);
    if (result.ok) this.#adopt(result.value.state);
  }

  #adopt(state: RingState): void {
    if (state.kind === "live") this.ring = state;
  }

  #sync(index: number, isLost: boolean): void {
    const isolate = this.#isolates[index % this.#isolates.length];
    if (isolate === undefined) return;
    const { held } = isolate;
    const request = {
      isolate: `isolate-${index}`,
      seq: ++isolate.seq,
      incarnation: held?.document.incarnation ?? null,
      haveVersion: held?.document.version ?? 0,
      report: null,
      inFlight: [],
    };
    const pacing = pace(this.ring.config.sync, this.#ledger.size, isHurried(this.ring), 0);
    const reply = answerSync(
      this.#ledger,
      projectSnapshot(this.ring),
      request,
      pacing,
      this.#nowMs,
      (leaseMs) => {
        this.#storedLeaseMs = leaseMs;
      },
    );
    if (reply.kind === "leased" && !isLost) isolate.held = install(held, reply, isolate.seq, this.#nowMs);
  }

  #leased(): readonly Snapshot[] {
    return this.#isolates.flatMap(({ held }) =>
      held !== null && this.#nowMs < held.leaseEndsMs ? [held.document] : [],
    );
  }

  /** Makes tokens as late as each isolate could since the last time, when they were made before it could no more. */
  #issue(sinceMs: EpochMs): void {
    const made = this.#isolates.flatMap(({ held }) => {
      if (held === null) return [];
      const { maxStaleMs } = held.document.config.sync;
      const lastMs = epochMs(Math.min(this.#nowMs, held.leaseEndsMs + maxStaleMs - 1));
      return lastMs >= sinceMs && mayServeStale(held, maxStaleMs, lastMs)
        ? tokensOf(held.document, lastMs)
        : [];
    });
    this.#issued = [...this.#issued, ...made].filter(({ expiresMs }) => expiresMs > this.#nowMs);
  }

  #check(): void {
    this.#checkConfigs();
    this.#checkServerIds();
    const leased = this.#leased();
    for (const writer of leased) {
      const { writeId } = writer.tokens;
      const macKey = macKeyOf(writer, writeId);
      for (const reader of leased) {
        if (macKey === undefined || macKeyOf(reader, writeId) !== macKey)
          this.#break(`version ${writer.version} writes under ${writeId}, unknown to ${reader.version}`);
      }
    }
    for (const token of this.#issued) this.#checkIssued(token);
  }

  #checkConfigs(): void {
    const { configs } = this.ring.tokens;
    const count = (kind: string): number => configs.filter(({ phase }) => phase.kind === kind).length;
    if (count("writing") !== 1) this.#break(`${count("writing")} configurations are writing`);
    if (count("spreading") > 1) this.#break(`${count("spreading")} configurations are spreading`);
    if (configs.length > 6) this.#break(`${configs.length} configurations are live`);
    if (new Set(configs.map(({ id }) => id)).size < configs.length) this.#break("two share a codepoint");
    if (configs.some(({ id }) => id < 0 || id > 6)) this.#break("a codepoint is beyond 0…6");
  }

  #checkServerIds(): void {
    const { backends, tokens } = this.ring;
    const ids = [...backends, ...tokens.reserved].map(({ serverId }) => serverId);
    if (new Set(ids).size < ids.length) this.#break(`server ids ${ids.join(", ")} are not unique`);
  }

  #checkIssued({ macKey, serverId, id }: Issued): void {
    const { tokens, backends } = this.ring;
    if (!tokens.configs.some((config) => config.macKey === macKey))
      this.#break(`a living token was made under ${macKey}, which is gone`);
    const named = [...backends, ...tokens.reserved].find((each) => each.serverId === serverId);
    if (named?.id !== id)
      this.#break(`server id ${serverId} was ${id} in a living token, and is ${named?.id}`);
  }

  #break(what: string): void {
    this.broken.push(`at ${this.#nowMs - NOON}: ${what}`);
  }
}

/** A token for every backend of a document. */
function tokensOf(snapshot: Snapshot, nowMs: EpochMs): readonly Issued[] {
  const macKey = macKeyOf(snapshot, snapshot.tokens.writeId) ?? "none";
  const expiresMs = after(nowMs, snapshot.config.tokens.lifetimeMs);
  return snapshot.backends.map(({ serverId, id }) => ({ macKey, serverId, id, expiresMs }));
}

function macKeyOf({ tokens }: Snapshot, id: number): string | undefined {
  return tokens.configs.find((config) => config.id === id)?.macKey;
}
