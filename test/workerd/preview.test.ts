import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import type { Rehearsal, RouteRehearsal } from "../../durable/model/preview.ts";
import type { Result } from "../../durable/model/result.ts";
import { callObject } from "../../worker/edge/ring-client.ts";
import {
  accepted,
  backend,
  directory,
  freezeTime,
  id,
  pass,
  pool,
  poolName,
  refused,
  ring,
  route,
  routeId,
} from "./support.ts";

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

function preview(
  name: string,
  command: PoolCommand,
  ifMatch: readonly number[] | null = null,
): Promise<Result<Rehearsal>> {
  const change = { pool: name, command, precondition: { ifMatch, ifAbsent: false } };
  return callObject(env.RING, name, "preview", change);
}

const COMMANDS: readonly PoolCommand[] = [
  { kind: "put-pool", document: pool({ a: 9, z: 1 }) },
  { kind: "patch-pool", patch: { policy: "maglev" } },
  { kind: "delete-pool" },
  { kind: "rotate-keys" },
  { kind: "put-backend", id: id("c"), backend: backend(3, "c") },
  { kind: "remove-backend", id: id("a") },
  { kind: "drain-backend", id: id("a"), forMs: 60_000 },
  { kind: "disable-backend", id: id("a") },
  { kind: "pin-backend", id: id("a"), pin: { health: "unhealthy", reason: "seen", forMs: 60_000 } },
];

it.each(COMMANDS)("of $kind changes nothing, and says what the change then does", async (command) => {
  const held = ring("preview", command.kind);
  await held.put({ a: 1, b: 1 });
  const before = [await held.view(), await held.status(), await held.alarmAtMs(), await held.events()];
  const { basedOn, applied } = accepted(await preview(held.name, command));
  expect([await held.view(), await held.status(), await held.alarmAtMs(), await held.events()]).toEqual(
    before,
  );
  await held.evict();
  expect([await held.view(), await held.alarmAtMs(), await held.events()]).toEqual([
    before[0],
    before[2],
    before[3],
  ]);
  expect(basedOn).toBe(1);
  expect(accepted(await held.apply(command))).toEqual(applied);
});

it("is refused as the change would be", async () => {
  const held = ring("preview-refused");
  const disable: PoolCommand = { kind: "disable-backend", id: id("a") };
  expect(refused(await preview(held.name, disable))).toMatchObject({ kind: "not-found" });
  await held.put({ b: 1 });
  expect(refused(await preview(held.name, disable))).toMatchObject({ kind: "not-found" });
  expect(refused(await preview(held.name, disable, [7]))).toEqual({
    kind: "stale-version",
    expected: "7",
    actual: "1",
  });
});

it("leaves a deadline that has passed to the ring, and is based on the version that comes of it", async () => {
  const held = ring("preview-deadline");
  await held.put({ a: 1, b: 1 });
  await held.drain("a", 60_000);
  pass(60_000);
  const command: PoolCommand = { kind: "patch-pool", patch: { policy: "random" } };
  expect(accepted(await preview(held.name, command))).toMatchObject({ basedOn: 3, applied: { version: 4 } });
  expect((await held.view()).version).toBe(2);
  expect(await held.apply(command, { ifMatch: [3] })).toMatchObject({ ok: true, value: { version: 4 } });
});

it("of the directory changes nothing, and says what the change then does", async () => {
  const held = directory("preview-directory");
  const precondition = { ifMatch: null, ifAbsent: false };
  const ask = (command: object): Promise<Result<RouteRehearsal>> =>
    callObject(env.DIRECTORY, held.name, "preview", { command, precondition });
  const before = await held.view();
  const listing = { kind: "add-pool", name: poolName("api") } as const;
  const listed = accepted(await ask(listing));
  expect([listed.basedOn, await held.view()]).toEqual([1, before]);
  expect(await held.do(listing)).toEqual(listed.applied);
  const led = { kind: "put-route", id: routeId("r"), route: route({ pool: poolName("api") }) } as const;
  const { basedOn, applied } = accepted(await ask(led));
  expect([basedOn, (await held.view()).routes]).toEqual([2, []]);
  expect(await held.do(led)).toEqual(applied);
  expect(refused(await ask({ kind: "remove-pool", name: poolName("api") }))).toMatchObject({
    kind: "conflict",
  });
});
