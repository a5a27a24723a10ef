import type { PoolCommand } from "../../../durable/model/command.ts";
import type { PoolConfig } from "../../../durable/model/pool.ts";
import type { Admits, Snapshot } from "../../../durable/model/snapshot.ts";
import { after, type EpochMs, epochMs } from "../../../durable/model/time.ts";
import { NOON } from "./build.ts";
import type { Visit, Witness } from "./world.ts";

/** A backend as operators have it. One that is added again under its old id lives another life. */
interface Told {
  readonly life: number;
  readonly weight: number;
  /** Drain deadline; null: none. */
  readonly drainsUntilMs: EpochMs | null;
  readonly isDisabled: boolean;
}

interface Place {
  readonly life: number;
  readonly admits: Admits;
}

/** What anybody who holds a version can know. */
interface Version {
  readonly places: ReadonlyMap<string, Place>;
  /** No life of a higher number had begun. */
  readonly newestLife: number;
  readonly config: PoolConfig;
  /** The first version that had the keys which this one writes under. */
  readonly keysSince: number;
}

/** What a client was promised with its token. */
interface Promised {
  readonly id: string;
  /** The version it was made by. */
  readonly version: number;
  readonly life: number;
  readonly expiresMs: EpochMs;
  readonly keysSince: number;
}

/** How often something was seen, so that a test can tell that it tested anything. */
type Seen = "kept" | "lost" | "unread" | "unborn" | "expired" | "begun" | "renewed" | "refused";

/**
 * Promise P2, in the words of clients and operators: a session with a token that is good stays where it is, unless its
 * backend was removed, drained past its deadline or disabled, as the isolate's snapshot has it. Two excuses: an isolate
 * that is older than the keys of a token cannot read it, and one that is older than its backend cannot route to it. Both
 * serve it elsewhere and leave the token alone, so that it goes on where it was.
 */
export class SessionModel implements Witness {
  /** What went wrong, in words; empty while the promise holds. */
  readonly broken: string[] = [];
  readonly seen: Record<Seen, number> = {
    kept: 0,
    lost: 0,
    unread: 0,
    unborn: 0,
    expired: 0,
    begun: 0,
    renewed: 0,
    refused: 0,
  };

  readonly #told = new Map<string, Told>();
  #lives = 0;
  #config: PoolConfig | null = null;
  readonly #versions = new Map<number, Version>();
  readonly #keysSince = new Map<string, number>();
  readonly #promises = new Map<string, Promised>();
  /** Where lost sessions went, by version and token. */
  readonly #landed = new Map<string, string>();
  /** Isolate, connection and backend of every request that brought no good token: what an isolate may remember. */
  readonly #connections = new Set<string>();

  accepted(command: PoolCommand, nowMs: EpochMs): void {
    switch (command.kind) {
      case "put-backend": {
        const { weight } = command.backend;
        const held = this.#told.get(command.id);
        this.#told.set(command.id, { ...(held ?? this.#born()), weight });
        return;
      }
      case "patch-backend":
        this.#change(command.id, command.patch.weight === undefined ? {} : { weight: command.patch.weight });
        return;
      case "remove-backend":
        this.#told.delete(command.id);
        return;
      case "drain-backend":
        this.#change(command.id, {
          drainsUntilMs: after(nowMs, command.forMs ?? this.#config?.drainMs ?? 0),
        });
        return;
      case "undrain-backend":
        this.#change(command.id, { drainsUntilMs: null });
        return;
      case "disable-backend":
        this.#change(command.id, { drainsUntilMs: null, isDisabled: true });
        return;
      case "enable-backend":
        this.#change(command.id, { drainsUntilMs: null, isDisabled: false });
        return;
      case "put-pool":
      case "patch-pool":
      case "delete-pool":
      case "rotate-keys":
      case "pin-backend":
      case "unpin-backend":
        return;
      case "drain-labelled":
      case "undrain-labelled":
        throw new Error(`${command.kind} is not modelled`);
    }
  }

  published({ version, config, tokens, backends }: Snapshot, nowMs: EpochMs): void {
    if (this.#versions.size === 0) {
      for (const { id, weight } of backends) this.#told.set(id, { ...this.#born(), weight });
    }
    for (const { macKey } of tokens.configs) {
      if (!this.#keysSince.has(macKey)) this.#keysSince.set(macKey, version);
    }
    const writing = tokens.configs.find(({ id }) => id === tokens.writeId)?.macKey ?? "none";
    this.#config = config;
    this.#versions.set(version, {
      places: new Map([...this.#told].map(([id, told]) => [id, placeOf(told, nowMs)])),
      newestLife: this.#lives,
      config,
      keysSince: this.#keysSince.get(writing) ?? 0,
    });
  }

  served(visit: Visit): void {
    const at = this.#versions.get(visit.version);
    if (at === undefined) throw new Error(`version ${visit.version} was never published`);
    const { choice, token, nowMs } = visit;
    if (choice.kind === "backend" && (at.places.get(choice.channel.id)?.admits ?? "none") === "none")
      this.#break(visit, `was sent to ${choice.channel.id}, which admits nothing`);
    const promised = token === null ? undefined : this.#promises.get(token);
    if (promised === undefined || nowMs >= promised.expiresMs) this.#judgeNew(visit, at);
    else if (promised.keysSince > visit.version) this.#judgeUnread(visit, at);
    else this.#judgeGood(visit, at, promised);
    if (choice.kind !== "backend" || visit.given === null) return;
    // Served elsewhere for now, a session gets no token but for its own backend.
    const isAway = choice.fate === "drained" && at.config.sessions.lost.drained === "temporary";
    const named = isAway ? (promised?.id ?? choice.channel.id) : choice.channel.id;
    this.#promise(visit.given, named, visit, at);
  }

  #judgeNew(visit: Visit, at: Version): void {
    const { choice, token, given } = visit;
    if (token !== null) this.seen.expired++;
    this.seen.begun++;
    if (choice.kind !== "backend") return this.#checkNobody(visit, at);
    const { id } = choice.channel;
    const isNew = at.places.get(id)?.admits === "new";
    const name = `${visit.isolate} ${visit.connection} ${id}`;
    const isRemembered =
      visit.connection !== null &&
      this.#connections.has(name) &&
      at.config.affinity.some(({ by }) => by === "connection");
    if (!isNew && !isRemembered) this.#break(visit, `begins a session on ${id}, which takes no new ones`);
    this.#connections.add(name);
    if (given === null && choice.fate !== "unknown") this.#break(visit, "got no token");
    const isOver = choice.fate === "expired" || choice.fate === "unknown" || choice.fate === "invalid";
    if (token === null ? choice.fate !== null : !isOver)
      this.#break(visit, `begins a session, and counts as ${choice.fate}`);
  }

  #judgeUnread(visit: Visit, at: Version): void {
    this.seen.unread++;
    if (visit.choice.kind !== "backend") return this.#checkNobody(visit, at);
    const { fate, channel } = visit.choice;
    if (fate !== "unknown") this.#break(visit, `cannot be read yet, and counts as ${fate}`);
    this.#connections.add(`${visit.isolate} ${visit.connection} ${channel.id}`);
    this.#checkLeftAlone(visit);
  }

  #judgeGood(visit: Visit, at: Version, promised: Promised): void {
    const home = at.places.get(promised.id);
    const isHome = home?.life === promised.life;
    if (isHome && home.admits !== "none") this.#judgeKept(visit, at, promised);
    else if (promised.life > at.newestLife) this.#judgeUnborn(visit, at);
    else this.#judgeLost(visit, at, isHome ? "drained" : "removed", promised);
  }

  #judgeKept(visit: Visit, at: Version, { id, expiresMs }: Promised): void {
    this.seen.kept++;
    const { choice, given, nowMs } = visit;
    if (choice.kind !== "backend") return this.#break(visit, `must stay on ${id}: ${choice.kind}`);
    if (choice.channel.id !== id || choice.fate !== "kept")
      this.#break(visit, `must stay on ${id}, and is ${choice.fate} on ${choice.channel.id}`);
    if (given !== null) this.seen.renewed++;
    const { lifetimeMs } = at.config.tokens;
    const endsMs = given === null ? expiresMs : after(nowMs, lifetimeMs);
    if (endsMs - nowMs < lifetimeMs / 2) this.#break(visit, `has ${endsMs - nowMs} ms of ${lifetimeMs} left`);
  }

  #judgeUnborn(visit: Visit, at: Version): void {
    this.seen.unborn++;
    if (visit.choice.kind !== "backend") return this.#checkNobody(visit, at);
    const { fate, channel } = visit.choice;
    if (fate === "kept") this.#break(visit, `is kept on ${channel.id}, which is another's`);
    this.#checkLeftAlone(visit);
  }

  #judgeLost(visit: Visit, at: Version, cause: "drained" | "removed", { expiresMs }: Promised): void {
    this.seen.lost++;
    const { choice, given, token, version } = visit;
    const rule = at.config.sessions.lost[cause];
    if (rule === "refuse") {
      this.seen.refused++;
      if (choice.kind !== "session_refused") this.#break(visit, `must be refused: ${choice.kind}`);
      return;
    }
    if (choice.kind !== "backend") return this.#checkNobody(visit, at);
    const { id } = choice.channel;
    if (at.places.get(id)?.admits !== "new")
      this.#break(visit, `is placed on ${id}, which takes no new ones`);
    if (choice.fate !== cause) this.#break(visit, `is ${cause}, and counts as ${choice.fate}`);
    const isEnding = expiresMs - visit.nowMs < at.config.tokens.lifetimeMs / 2;
    const isRenewed = rule === "temporary" && cause === "drained" && isEnding;
    if ((given !== null) !== (rule === "sticky" || isRenewed))
      this.#break(visit, `got the token ${given} by ${rule}`);
    const others = this.#landed.get(`${version} ${token}`);
    if (others !== undefined && others !== id) this.#break(visit, `lands on ${id}, others on ${others}`);
    this.#landed.set(`${version} ${token}`, id);
  }

  /** Being sent nowhere is right only where nobody takes new sessions. */
  #checkNobody(visit: Visit, { places }: Version): void {
    const takers = [...places].filter(([, { admits }]) => admits === "new");
    if (visit.choice.kind !== "no_backend" || takers.length > 0)
      this.#break(visit, `${visit.choice.kind}, where ${takers.length} backends take new sessions`);
  }

  #checkLeftAlone(visit: Visit): void {
    if (visit.given !== null) this.#break(visit, "lost its token to an isolate that is older than the token");
  }

  #promise(text: string, id: string, { nowMs, version }: Visit, at: Version): void {
    const expiresMs = epochMs(1_000 * Math.floor((nowMs + at.config.tokens.lifetimeMs) / 1_000));
    const life = at.places.get(id)?.life ?? 0;
    this.#promises.set(text, { id, version, life, expiresMs, keysSince: at.keysSince });
  }

  #born(): Told {
    return { life: ++this.#lives, weight: 1, drainsUntilMs: null, isDisabled: false };
  }

  #change(id: string, changed: Partial<Told>): void {
    const told = this.#told.get(id);
    if (told !== undefined) this.#told.set(id, { ...told, ...changed });
  }

  #break({ nowMs, isolate, version, token, choice, connection }: Visit, what: string): void {
    const promised = token === null ? undefined : this.#promises.get(token);
    const told =
      promised === undefined ? "no token" : `a token of version ${promised.version} for ${promised.id}`;
    const went = choice.kind === "backend" ? choice.channel.id : choice.kind;
    this.broken.push(
      `at ${nowMs - NOON}, ${isolate}, version ${version}: ${connection ?? "somebody"} with ${told} (→ ${went}) ${what}`,
    );
  }
}

function placeOf({ life, weight, drainsUntilMs, isDisabled }: Told, nowMs: EpochMs): Place {
  if (isDisabled || (drainsUntilMs !== null && drainsUntilMs <= nowMs)) return { life, admits: "none" };
  return { life, admits: drainsUntilMs !== null || weight === 0 ? "sticky" : "new" };
}
