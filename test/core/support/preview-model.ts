import type { PoolCommand } from "../../../durable/model/command.ts";
import type { PoolConfig } from "../../../durable/model/pool.ts";
import type { MoveCause, PoolPreview, Rehearsal, SessionMove } from "../../../durable/model/preview.ts";
import type { Snapshot, SnapshotBackend } from "../../../durable/model/snapshot.ts";
import { after, type EpochMs } from "../../../durable/model/time.ts";
import { passDeadlines } from "../../../durable/state/agenda.ts";
import { projectSnapshot } from "../../../durable/state/project.ts";
import { rehearse } from "../../../durable/state/rehearse.ts";
import { applyPoolCommand } from "../../../durable/state/ring-command.ts";
import type { LiveRing } from "../../../durable/state/ring-state.ts";
import { usesTokens } from "../../../worker/core/affinity.ts";
import type { Choice, Grant } from "../../../worker/core/choice.ts";
import { isLed } from "../../../worker/core/hash-space.ts";
import { createKeyedHash } from "../../../worker/core/keyed-hash.ts";
import { PoolView } from "../../../worker/core/pool-view.ts";
import { preview } from "../../../worker/core/preview.ts";
import { PreviewedPool } from "../../../worker/core/previewed-pool.ts";
import { SessionForecast } from "../../../worker/core/session-moves.ts";
import { TOKEN_RANDOM_BYTES } from "../../../worker/core/sessions.ts";
import { moment, NOON } from "./build.ts";
import { Dice } from "./dice.ts";
import { frozen } from "./frozen.ts";
import { connection, visit } from "./visit.ts";

const BIRTH = { incarnation: "again", secret: "f0".repeat(16) };
const ESTIMATED = { count: 1_000, sinceMs: after(NOON, -3_600_000) };
const SESSIONS_PER_BACKEND = 8;
const CONNECTIONS = 200;
const DRAWN_KEYS = 200;
const REQUESTS = 600;

const A_SECOND_BEFORE: EpochMs = after(NOON, -1_000);
const NOWHERE = "nowhere";

/** A change on paper, and the same one made. */
interface Both {
  readonly rehearsal: Rehearsal;
  readonly shown: PoolPreview;
  readonly before: Snapshot;
  /** Null: the pool is deleted. */
  readonly made: LiveRing | null;
}

/** A session whose token names a backend, and where it was before the change. */
interface Live {
  readonly home: SnapshotBackend;
  readonly id: string;
  readonly cookie: string;
  readonly place: string;
  /** It began when its backend was added, and not later for all its token says. */
  readonly isOldest: boolean;
}

/** What becomes of sessions that move for a reason, where anybody takes them. */
const FATES: Readonly<Record<Exclude<MoveCause, "returned" | "repinned" | "unbound">, readonly string[]>> = {
  removed: ["removed"],
  drained: ["drained"],
  disabled: ["drained"],
  ejected: ["ejected"],
  rehashed: ["drained", "ejected"],
};

/**
 * Promise P8: what a preview says is what the change does. The change is made by the real command, requests are led by real
 * views of what it publishes, with tokens and connections from before it, and all that comes of it is held against the preview.
 */
export class PreviewModel {
  /** What went wrong, in words; empty while the promise holds. */
  readonly broken: string[] = [];
  /** How often something was looked at, so that a test can tell that it tested anything. */
  readonly seen = new Map<string, number>();
  readonly #dice: Dice;

  constructor(seed: number) {
    this.#dice = new Dice(seed);
  }

  /** False when the change was refused, which is the same with and without a preview. */
  judge(ring: LiveRing, command: PoolCommand): boolean {
    const both = this.#doBoth(ring, command);
    if (both === null) return false;
    this.#judgeShares(both.before, both.shown, "before", NOON);
    if (both.made !== null) {
      const snapshot = projectSnapshot(both.made);
      this.#judgeShares(snapshot, both.shown, "after", NOON);
      this.#judgeShares(snapshot, both.shown, "settled", after(NOON, snapshot.config.slowStart.windowMs));
    } else if (both.shown.shares.some((share) => share.after > 0)) this.#break("a deleted pool serves");
    this.#judgeHashSpace(both);
    this.#judgeSessions(both);
    return true;
  }

  #doBoth(ring: LiveRing, command: PoolCommand): Both | null {
    // What is not there yet has no version to match.
    const ifMatch = command.kind === "put-backend" ? null : [ring.version];
    const change = { pool: ring.pool, command, precondition: { ifMatch, ifAbsent: false } };
    const told = { ...moment(NOON), birth: BIRTH };
    const rehearsed = rehearse(frozen(ring), change, told, () => ESTIMATED);
    const made = applyPoolCommand(frozen(ring), command, { ...told, ...change });
    if (!made.ok || !rehearsed.ok) {
      this.#see("refused");
      this.#same(rehearsed, made, "the refusal");
      return null;
    }
    const rehearsal = rehearsed.value;
    const shown = preview(rehearsal, new Set());
    const { state, applied } = made.value;
    const { nextVersion: version, created, changes } = shown;
    this.#same({ version, created, changes }, applied, "what is applied");
    this.#same(shown.version, ring.version, "the version");
    return { rehearsal, shown, before: projectSnapshot(ring), made: state.kind === "live" ? state : null };
  }

  #judgeShares(
    snapshot: Snapshot,
    { shares }: PoolPreview,
    side: "before" | "after" | "settled",
    nowMs: EpochMs,
  ): void {
    const cycle = cycleOf(snapshot);
    const count = cycle ?? REQUESTS;
    const counts = this.#lead(snapshot, count, nowMs);
    for (const share of shares) {
      const told = share[side] / 100;
      const measured = (counts.get(share.id) ?? 0) / count;
      const allowed = cycle === null ? tolerance(told, count) : 1e-5;
      if (Math.abs(measured - told) > allowed)
        this.#break(`${share.id} has ${measured} ${side}, and ${told} by preview`);
    }
    const whole = shares.reduce((sum, share) => sum + share[side], 0);
    if (Math.abs(whole - (counts.has(NOWHERE) ? 0 : 100)) > 0.01)
      this.#break(`all together have ${whole} ${side}`);
    this.#see(cycle === null ? `shares by ${snapshot.config.policy}` : "shares by cycle");
  }

  /** Where what is new is led. Requests end at once, but where the policy has to see load. */
  #lead(snapshot: Snapshot, count: number, nowMs: EpochMs): ReadonlyMap<string, number> {
    const view = new PoolView(snapshot, NOON, 0);
    const { policy } = snapshot.config;
    const isLoaded = policy === "least_request" || policy === "peak_ewma";
    const counts = new Map<string, number>();
    for (let index = 0; index < count; index++) {
      const choice = this.#ask(view, `new ${index}`, nowMs);
      if (choice.kind === "backend" && !isLoaded) choice.channel.end();
      counts.set(placeOf(choice), (counts.get(placeOf(choice)) ?? 0) + 1);
    }
    return counts;
  }

  /** Connections that no isolate remembers: each is where the preview takes it to be, and as many move. */
  #judgeHashSpace({ rehearsal, shown }: Both): void {
    const { before, after: changed } = rehearsal;
    if (before === null || changed === null || shown.hashSpaceMovedPercent === null) return;
    this.#see("hash space");
    const was = this.#placeConnections(before);
    const is = this.#placeConnections(changed);
    const moved = was.filter((place, index) => place !== NOWHERE && place !== is[index]).length;
    const told = shown.hashSpaceMovedPercent / 100;
    const error = 6 * (shown.hashSpaceErrorPercent / 100);
    const isRight = hashesOthers(before.snapshot.config, changed.snapshot.config)
      ? told === 1
      : Math.abs(moved / CONNECTIONS - told) <= tolerance(told, CONNECTIONS) + error;
    if (!isRight) this.#break(`${moved} of ${CONNECTIONS} connections move, and ${told} by preview`);
  }

  #placeConnections(side: NonNullable<Rehearsal["before"]>): readonly string[] {
    const paper = new PreviewedPool(side, NOON);
    const view = new PoolView(side.snapshot, NOON, 0);
    const hash = createKeyedHash(side.snapshot.secret);
    const { policy } = side.snapshot.config;
    return Array.from({ length: CONNECTIONS }, (_, index) => {
      const name = `tls ${index}`;
      const request = visit({ policy, affinity: [{ by: "connection" }], connection: connection(name) });
      const place = placeOf(view.choose(request));
      this.#same(paper.place(hash(`connection ${name}`)) ?? NOWHERE, place, name);
      return place;
    });
  }

  #judgeSessions({ rehearsal, shown, before, made }: Both): void {
    if (rehearsal.before === null) throw new Error("there is a pool before every change");
    const view = new PoolView(before, A_SECOND_BEFORE, 0);
    const sessions = this.#settle(view);
    const paper = new PreviewedPool(rehearsal.before, NOON);
    const changed = rehearsal.after === null ? null : new PreviewedPool(rehearsal.after, NOON);
    const forecast = new SessionForecast(paper, changed);
    const hash = createKeyedHash(before.secret);
    if (made !== null) view.adopt(projectSnapshot(made), NOON, 0);
    for (const session of sessions) {
      const { home } = session;
      const key = hash(`session ${session.id}`);
      const cause = forecast.causeFor(home.id, key);
      const next = changed?.placeSession(key, paper.regionOf(home)) ?? null;
      const isNew = before.backends.every(({ id }) => id !== next);
      if (cause === "repinned" && isNew) this.#see("session repinned to a newcomer");
      if (made !== null) this.#judgeSession(session, cause, view, isNew || session.isOldest ? next : null);
      else if (cause !== "removed" && cause !== null) this.#break(`${cause}, and the pool is gone`);
      const isTold = shown.sessions.some((move) => move.backend === home.id && move.cause === cause);
      if (cause !== null && !isTold) this.#break(`nothing is told of sessions of ${home.id}: ${cause}`);
    }
    for (const move of shown.sessions) {
      if (move.fromMs === NOON) this.#judgeCount(move, forecast);
      else if (made !== null) this.#judgeDrain(move, made, sessions);
    }
  }

  /** Sessions of every backend, begun when it was added, each with a request a second before the change. */
  #settle(view: PoolView): readonly Live[] {
    const { backends, config } = view.snapshot;
    if (!usesTokens(config.affinity)) return [];
    return backends.flatMap((home) =>
      Array.from({ length: SESSIONS_PER_BACKEND }, () => this.#begin(view, home)).filter(
        (session) => session !== null,
      ),
    );
  }

  /** Null: it is another backend's by now. */
  #begin(view: PoolView, home: SnapshotBackend): Live | null {
    const id = Array.from(this.#dice.bytes(8), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const given = this.#cookie(view, { backend: home, sessionId: id, startedMs: home.addedMs });
    const choice = this.#ask(view, id, A_SECOND_BEFORE, given);
    const grant = choice.kind === "backend" ? choice.grant : null;
    if (grant !== null && grant.backend.serverId !== home.serverId) return null;
    const isOldest = grant === null;
    const cookie = grant === null ? given : this.#cookie(view, grant);
    return { home, id, cookie, place: placeOf(choice), isOldest };
  }

  #cookie(view: PoolView, grant: Grant): string {
    const [header] = view.sessions.write(grant, A_SECOND_BEFORE, this.#dice.bytes(TOKEN_RANDOM_BYTES));
    return header?.[1].split(";")[0] ?? "";
  }

  /** `taker`: the backend that is certain to take the session over, if any does; null: none is. */
  #judgeSession(session: Live, cause: MoveCause | null, view: PoolView, taker: string | null): void {
    this.#see(`session ${cause ?? "stays"}`);
    const { maxAgeMs } = view.snapshot.config.sessions;
    const choice = this.#ask(view, session.id, after(NOON, (maxAgeMs ?? 0) + 2_000), session.cookie);
    if (!isAsTold(session, cause, choice, maxAgeMs, taker))
      this.#break(
        `a session of ${session.home.id}, ${cause}, goes from ${session.place} to ${placeOf(choice)}`,
      );
  }

  /** Of all sessions as many are told as there are where each is asked for. */
  #judgeCount({ backend, cause, sessions }: SessionMove, forecast: SessionForecast): void {
    const word = (): number => Math.floor(this.#dice.next() * 2 ** 32);
    const causes = Array.from({ length: DRAWN_KEYS }, () =>
      forecast.causeFor(backend, { high: word(), low: word() }),
    );
    const told = sessions / ESTIMATED.count;
    const counted = causes.filter((each) => each === cause).length / DRAWN_KEYS;
    if (Math.abs(counted - told) > tolerance(told, DRAWN_KEYS))
      this.#break(`of ${backend} ${counted} are ${cause}, and ${told} by preview`);
  }

  /** What a drain moves is moved at its deadline. That it stays before was seen with all that stays. */
  #judgeDrain(
    { backend, cause, fromMs, sessions: told }: SessionMove,
    made: LiveRing,
    all: readonly Live[],
  ): void {
    this.#see("session drained later");
    this.#same([cause, told], ["drained", ESTIMATED.count], "a move to come");
    const admits = [-1, 0].map(
      (ms) => snapshotAt(made, after(fromMs, ms)).backends.find(({ id }) => id === backend)?.admits,
    );
    this.#same(admits, ["sticky", "none"], `what ${backend} admits before and at its deadline`);
    const view = new PoolView(snapshotAt(made, fromMs), fromMs, 0);
    const isLost = usesTokens(made.config.affinity);
    for (const { home, id, cookie } of all.filter((session) => isLost && session.home.id === backend)) {
      if (placeOf(this.#ask(view, id, fromMs, cookie)) === home.id)
        this.#break(`${id} is on ${home.id} still`);
    }
  }

  /** A request as the pool's own chain takes it; `name` is what may be hashed. */
  #ask(view: PoolView, name: string, nowMs: EpochMs, cookie?: string): Choice {
    const { policy, affinity } = view.snapshot.config;
    const headers = { "x-user": name, ...(cookie === undefined ? {} : { cookie }) };
    const chance = this.#dice.next();
    return view.choose(
      visit({ policy, affinity, headers, connection: connection(`tls ${name}`), chance, nowMs }),
    );
  }

  #same(one: unknown, other: unknown, what: string): void {
    const [is, must] = [JSON.stringify(one), JSON.stringify(other)];
    if (is !== must) this.#break(`${what} is ${is}, not ${must}`);
  }

  #see(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }

  #break(what: string): void {
    this.broken.push(what);
  }
}

function isAsTold(
  { home, place }: Live,
  cause: MoveCause | null,
  choice: Choice,
  maxAgeMs: number | null,
  taker: string | null,
): boolean {
  const now = placeOf(choice);
  const fate = choice.kind === "backend" ? choice.fate : null;
  const isTakenOver = fate === "repinned" && maxAgeMs !== null && now !== home.id;
  const isHome = fate === "kept" && now === home.id;
  switch (cause) {
    case null:
      return now === place;
    case "unbound":
      return fate === null;
    case "repinned":
      // By a backend that was there before, it is taken over only if it began before that came.
      return taker === null ? isTakenOver || isHome : isTakenOver && now === taker;
    case "returned":
      // On its way home one that is old enough may be taken over.
      return isHome || isTakenOver;
    case "removed":
    case "drained":
    case "disabled":
    case "ejected":
    case "rehashed":
      return now !== place && (fate === null ? now === NOWHERE : FATES[cause].includes(fate));
  }
}

/** Whether it is for want of a backend or by a rule that a request is refused makes no difference to where it is. */
function placeOf(choice: Choice): string {
  return choice.kind === "backend" ? choice.channel.id : NOWHERE;
}

/** Picks in a cycle of the round robin; null where weights are not whole, or tiers are drawn by chance. */
function cycleOf({ backends, config }: Snapshot): number | null {
  const members = backends.filter(({ admits }) => admits === "new");
  const isPlain =
    config.policy === "round_robin" &&
    config.slowStart.windowMs === 0 &&
    !isLed(config) &&
    new Set(members.map(({ tier }) => tier)).size === 1;
  if (!isPlain) return null;
  const weights = members.map(({ weight }) => weight);
  return weights.reduce((sum, weight) => sum + weight, 0) / weights.reduce(greatestCommonDivisor, 0);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Six standard errors of a share that is counted, and a request for every backend that takes turns. */
function tolerance(share: number, count: number): number {
  return 6 * Math.sqrt((share * (1 - share)) / count) + 4 / count;
}

/** Whether a pool does not hash what it did before. */
function hashesOthers(was: PoolConfig, is: PoolConfig): boolean {
  const [one, other] = [was, is].map(({ affinity }) => affinity.find(({ by }) => by !== "token")?.by);
  return !isLed(is) || (one ?? "connection") !== (other ?? "connection");
}

function snapshotAt(ring: LiveRing, nowMs: EpochMs): Snapshot {
  const state = passDeadlines(ring, moment(nowMs));
  if (state.kind === "absent") throw new Error("time deletes no pool");
  return projectSnapshot(state);
}
