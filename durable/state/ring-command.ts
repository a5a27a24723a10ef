import type { AdminState, Backend, BackendInput } from "../model/backend.ts";
import type { Applied, PoolCommand, Precondition } from "../model/command.ts";
import type { Pin, PinInput } from "../model/health.ts";
import type { HealthCheck } from "../model/health-check.ts";
import { LIMITS } from "../model/limits.ts";
import type { BackendId, PoolName } from "../model/names.ts";
import { parse } from "../model/parse.ts";
import { type PoolConfig, PoolConfigSchema, type PoolDocument, type PoolPatch } from "../model/pool.ts";
import type { Labelled } from "../model/receipt.ts";
import { invalid, type Refusal } from "../model/refusal.ts";
import { ok, type Result, refuse } from "../model/result.ts";
import { after, type EpochMs } from "../model/time.ts";
import { diff } from "./diff.ts";
import { stampServing, unobserved } from "./health.ts";
import { withLabel } from "./labels.ts";
import { findLastBackend } from "./last-backend.ts";
import { merge } from "./merge.ts";
import { newTokens, nextTokens } from "./pool-tokens.ts";
import { checkPrecondition } from "./precondition.ts";
import { forgetProbes } from "./probing.ts";
import { type HeldBackend, type LiveRing, type RingState, toDocument } from "./ring-state.ts";
import { giveServerIds, type TakenServerIds } from "./server-ids.ts";
import { noStops } from "./stops.ts";
import { type Moment, smallestSpace, spreadingConfig } from "./token-configs.ts";

/** What a command needs besides the state: the moment, and the names a new pool gets. */
export interface CommandContext extends Moment {
  readonly pool: PoolName;
  readonly precondition: Precondition;
  /** Fresh random values, used only if the command makes the pool. */
  readonly birth: { readonly incarnation: string; readonly secret: string };
}

/** The next state, and what to tell the operator. The state is the old one, unchanged, when there was nothing to do. */
export interface Transition<State> {
  readonly state: State;
  readonly applied: Applied;
}

/** Applies one command to a pool. The version grows by one if anything changed, and not at all if nothing did. */
export function applyPoolCommand(
  state: RingState,
  command: PoolCommand,
  context: CommandContext,
): Result<Transition<RingState>> {
  const blocked = checkPrecondition(context.precondition, {
    exists: targetExists(state, command),
    hasHolder: state.kind === "live",
    version: state.version,
  });
  if (blocked !== null) return refuse(blocked);
  const tooLong = findTooLongDrain(command, context.nowMs);
  if (tooLong !== null) return refuse(tooLong);
  if (command.kind === "put-pool") return putPool(state, command.document, context);
  if (state.kind === "absent")
    return refuse({ kind: "not-found", detail: `pool ${context.pool} does not exist` });
  if (command.kind === "delete-pool") return deletePool(state);
  const next = change(state, command, context.nowMs);
  if (!next.ok) return next;
  const last = findLastBackend(state, next.value.backends, command);
  if (last !== null) return refuse(last);
  const isRotation = command.kind === "rotate-keys";
  return conclude(state, { isRotation, ...next.value }, context);
}

/** A deadline beyond the longest drain; an alarm could not even be set for some. Null: there is none. */
function findTooLongDrain(command: PoolCommand, nowMs: EpochMs): Refusal | null {
  const latestMs = after(nowMs, LIMITS.maxDrainMs);
  const wrong = adminStatesIn(command).find(
    ({ admin }) => admin?.kind === "draining" && admin.untilMs > latestMs,
  );
  if (wrong?.admin?.kind !== "draining") return null;
  return invalid(
    `${wrong.field}.untilMs`,
    wrong.admin.untilMs,
    `must be at most 7 days from now, which is ${latestMs}`,
  );
}

/** A pool that would fall back on itself; null: it does not. */
function findOwnFallback({ tiers }: PoolConfig, pool: PoolName): Refusal | null {
  return tiers.fallbackPool === pool ? invalid("tiers.fallbackPool", pool, "must name another pool") : null;
}

/** More points on the ring than an isolate should have to prepare, whatever the policy now, since routes may ask for another. */
function findTooManyPoints({ ringPoints }: PoolConfig, backends: number): Refusal | null {
  if (ringPoints * backends <= LIMITS.ringPoints) return null;
  const most = Math.floor(LIMITS.ringPoints / backends / 4) * 4;
  return invalid(
    "ringPoints",
    ringPoints,
    `must be a multiple of 4, 4…${most}, with ${backends} backends: ${LIMITS.ringPoints} points in all`,
  );
}

function adminStatesIn(command: PoolCommand): readonly { field: string; admin: AdminState | undefined }[] {
  switch (command.kind) {
    case "put-pool":
      return command.document.backends.map(({ admin }, index) => ({
        field: `backends.${index}.admin`,
        admin,
      }));
    case "put-backend":
      return [{ field: "admin", admin: command.backend.admin }];
    case "patch-backend":
      return [{ field: "admin", admin: command.patch.admin }];
    case "patch-pool":
    case "delete-pool":
    case "rotate-keys":
    case "remove-backend":
    case "drain-backend":
    case "undrain-backend":
    case "drain-labelled":
    case "undrain-labelled":
    case "disable-backend":
    case "enable-backend":
    case "pin-backend":
    case "unpin-backend":
      return [];
  }
}

function targetExists(state: RingState, command: PoolCommand): boolean {
  if (state.kind === "absent") return false;
  return command.kind !== "put-backend" || state.backends.some((backend) => backend.id === command.id);
}

const NONE_TAKEN: TakenServerIds = { reserved: [], resting: [] };

function putPool(
  state: RingState,
  document: PoolDocument,
  context: CommandContext,
): Result<Transition<RingState>> {
  const { backends, ...config } = document;
  const wrong = findOwnFallback(config, context.pool) ?? findTooManyPoints(config, backends.length);
  if (wrong !== null) return refuse(wrong);
  const held = new Map(state.kind === "live" ? state.backends.map((backend) => [backend.id, backend]) : []);
  const listed = backends.map((backend) =>
    hold(backend.id, backend, held.get(backend.id), { nowMs: context.nowMs, health: config.health }),
  );
  if (state.kind === "live") {
    const concluded = conclude(state, { config, backends: listed, isRotation: false }, context);
    if (!concluded.ok) return concluded;
    const { state: replaced, applied } = concluded.value;
    return ok({ state: replaced, applied: { ...applied, created: false } });
  }
  const tokens = newTokens(config, context);
  const next = forgetProbes(listed, config.health.probe, context.nowMs);
  const named = giveServerIds(next, NONE_TAKEN, smallestSpace(tokens.configs), context.nowMs);
  if (!named.ok) return named;
  const born: LiveRing = {
    kind: "live",
    pool: context.pool,
    ...context.birth,
    version: state.version + 1,
    config,
    tokens,
    stops: noStops(context.nowMs),
    backends: named.value,
  };
  return ok({
    state: born,
    applied: { version: born.version, created: true, changes: diff({}, toDocument(born)) },
  });
}

function deletePool(state: LiveRing): Result<Transition<RingState>> {
  const version = state.version + 1;
  return ok({
    state: { kind: "absent", version },
    applied: { version, created: false, changes: diff(toDocument(state), {}) },
  });
}

/** A backend as a command leaves it; the server id is null until it is given one. */
type UnnamedBackend = Omit<HeldBackend, "serverId"> & { readonly serverId: number | null };

interface Body {
  readonly config: PoolConfig;
  readonly backends: readonly UnnamedBackend[];
}
type ChangeCommand = Exclude<PoolCommand, { readonly kind: "put-pool" | "delete-pool" }>;

function change(state: LiveRing, command: ChangeCommand, nowMs: EpochMs): Result<Body> {
  switch (command.kind) {
    case "patch-pool":
      return patchPool(state, command.patch);
    case "rotate-keys":
      return ok({ config: state.config, backends: state.backends });
    case "put-backend":
      return putBackend(state, command.id, command.backend, nowMs);
    case "patch-backend":
      return replaceBackend(state, command.id, (held) =>
        ok(
          hold(command.id, { ...held, ...withoutUndefined(command.patch) }, held, {
            nowMs,
            health: state.config.health,
          }),
        ),
      );
    case "remove-backend":
      return replaceBackend(state, command.id, () => ok(null));
    case "drain-backend":
      return setAdmin(state, command.id, nowMs, ["active", "draining"], {
        kind: "draining",
        untilMs: after(nowMs, command.forMs ?? state.config.drainMs),
      });
    case "undrain-backend":
      return setAdmin(state, command.id, nowMs, ["active", "draining"], { kind: "active" });
    case "drain-labelled":
      return setLabelled(state, command, nowMs, "active", {
        kind: "draining",
        untilMs: after(nowMs, command.forMs ?? state.config.drainMs),
      });
    case "undrain-labelled":
      return setLabelled(state, command, nowMs, "draining", { kind: "active" });
    case "disable-backend":
      return setAdmin(state, command.id, nowMs, ["active", "draining", "disabled"], { kind: "disabled" });
    case "enable-backend":
      return setAdmin(state, command.id, nowMs, ["active", "disabled"], { kind: "active" });
    case "pin-backend":
      return setPin(state, command.id, toPin(command.pin, nowMs));
    case "unpin-backend":
      return setPin(state, command.id, null);
  }
}

function patchPool(state: LiveRing, patch: PoolPatch): Result<Body> {
  const config: Result<PoolConfig> = parse(PoolConfigSchema, merge(state.config, patch));
  if (!config.ok) return config;
  const { backends } = state;
  const wrong = findOwnFallback(config.value, state.pool) ?? findTooManyPoints(config.value, backends.length);
  return wrong === null ? ok({ config: config.value, backends }) : refuse(wrong);
}

function putBackend(state: LiveRing, id: BackendId, input: BackendInput, nowMs: EpochMs): Result<Body> {
  if (state.backends.some((backend) => backend.id === id)) {
    return replaceBackend(state, id, (held) =>
      ok(hold(id, input, held, { nowMs, health: state.config.health })),
    );
  }
  const count = state.backends.length + 1;
  if (count > LIMITS.backendsPerPool) {
    return refuse(invalid("backends", count, `must be a list of at most ${LIMITS.backendsPerPool}`));
  }
  const { ringPoints } = state.config;
  const most = Math.floor(LIMITS.ringPoints / ringPoints);
  if (count > most) {
    const range = `must be a list of at most ${most} with ringPoints ${ringPoints}: ${LIMITS.ringPoints} points in all`;
    return refuse(invalid("backends", count, range));
  }
  return ok({
    config: state.config,
    backends: [...state.backends, hold(id, input, undefined, { nowMs, health: state.config.health })],
  });
}

function setAdmin(
  state: LiveRing,
  id: BackendId,
  nowMs: EpochMs,
  from: readonly AdminState["kind"][],
  admin: AdminState,
): Result<Body> {
  return replaceBackend(state, id, (held) =>
    from.includes(held.admin.kind)
      ? ok(hold(id, { ...held, admin }, held, { nowMs, health: state.config.health }))
      : refuse({
          kind: "conflict",
          detail: `backend ${id} is ${held.admin.kind}; this needs it to be ${from.join(" or ")}`,
        }),
  );
}

/** Sets what is wanted of every backend that has a label and is in the state `from`; others of them stay as they are. */
function setLabelled(
  state: LiveRing,
  labelled: Labelled,
  nowMs: EpochMs,
  from: AdminState["kind"],
  admin: AdminState,
): Result<Body> {
  const found = withLabel(state, labelled);
  if (!found.ok) return found;
  const { config } = state;
  const backends = state.backends.map((held) =>
    found.value.includes(held) && held.admin.kind === from
      ? hold(held.id, { ...held, admin }, held, { nowMs, health: config.health })
      : held,
  );
  return ok({ config, backends });
}

function setPin(state: LiveRing, id: BackendId, pin: Pin | null): Result<Body> {
  return replaceBackend(state, id, (held) => ok({ ...held, pin }));
}

function toPin({ health, reason, forMs }: PinInput, nowMs: EpochMs): Pin {
  return { health, reason, untilMs: after(nowMs, forMs) };
}

/** Puts another backend in the place of one, or takes it out when `replace` says null. */
function replaceBackend(
  state: LiveRing,
  id: BackendId,
  replace: (held: HeldBackend) => Result<UnnamedBackend | null>,
): Result<Body> {
  const held = state.backends.find((backend) => backend.id === id);
  if (held === undefined) {
    return refuse({ kind: "not-found", detail: `pool ${state.pool} has no backend ${id}` });
  }
  const next = replace(held);
  if (!next.ok) return next;
  const backends = state.backends.flatMap((backend) =>
    backend !== held ? [backend] : next.value === null ? [] : [next.value],
  );
  return ok({ config: state.config, backends });
}

/**
 * A backend as held: what the operator left unsaid about its admin state stays as it was. What was observed of it does too,
 * unless it is somewhere else now.
 */
function hold(
  id: BackendId,
  input: Omit<Backend, "id" | "admin"> & { readonly admin?: AdminState | undefined },
  held: HeldBackend | undefined,
  { nowMs, health }: { readonly nowMs: EpochMs; readonly health: HealthCheck },
): UnnamedBackend {
  const admin = input.admin ?? held?.admin ?? { kind: "active" };
  const isThere = held?.url === input.url && held.via === input.via;
  return {
    id,
    url: input.url,
    weight: input.weight,
    via: input.via,
    labels: input.labels,
    priority: input.priority,
    addedMs: held?.addedMs ?? nowMs,
    servingSinceMs: held?.servingSinceMs ?? nowMs,
    pin: held?.pin ?? null,
    observed: isThere ? held.observed : unobserved(health, nowMs),
    admin,
    serverId: held?.serverId ?? null,
    isDrained: admin.kind === "draining" && (admin.untilMs <= nowMs || isSameDrain(admin, held)),
  };
}

/** Whether a drain that has been closed is not touched by this, whatever the clock says by now. */
function isSameDrain(admin: AdminState, held: HeldBackend | undefined): boolean {
  return (
    held?.isDrained === true &&
    held.admin.kind === "draining" &&
    admin.kind === "draining" &&
    admin.untilMs === held.admin.untilMs
  );
}

/** The next state and its differences; the state itself when there are none. */
function conclude(
  state: LiveRing,
  body: Body & { readonly isRotation: boolean },
  moment: Moment,
): Result<Transition<RingState>> {
  const { config } = body;
  const tokens = nextTokens(state, body, moment);
  if (!tokens.ok) return tokens;
  const { configs, reserved, resting } = tokens.value;
  const taken = { reserved, resting: resting.serverIds };
  const probed = forgetProbes(body.backends, config.health.probe, moment.nowMs);
  const backends = giveServerIds(probed, taken, smallestSpace(configs), moment.nowMs);
  if (!backends.ok) return backends;
  const version = state.version + 1;
  const next: LiveRing = {
    ...state,
    config,
    tokens: tokens.value,
    backends: stampServing(state.backends, backends.value, moment.nowMs),
    version,
  };
  const changes = diff(describe(state), describe(next));
  if (changes.length === 0)
    return ok({ state, applied: { version: state.version, created: false, changes } });
  const created = next.backends.length > state.backends.length;
  return ok({ state: next, applied: { version, created, changes } });
}

/** What an operator is told the differences of: the document, pins, and which token configuration is being spread. */
function describe(ring: LiveRing): object {
  const spreading = spreadingConfig(ring.tokens.configs);
  const document = toDocument(ring);
  const tokens = spreading === null ? document.tokens : { ...document.tokens, spreading: spreading.id };
  const pins = Object.fromEntries(ring.backends.flatMap(({ id, pin }) => (pin === null ? [] : [[id, pin]])));
  return { ...document, tokens, pins };
}

function withoutUndefined<Patch extends object>(
  patch: Patch,
): { [Key in keyof Patch]: Exclude<Patch[Key], undefined> } {
  return Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Patch]: Exclude<Patch[Key], undefined>;
  };
}
