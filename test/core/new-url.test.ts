import { expect, it } from "vitest";
import type { PoolCommand } from "../../durable/model/command.ts";
import { after, epochMs } from "../../durable/model/time.ts";
import { healthOf } from "../../durable/state/health.ts";
import { returnEvents } from "../../durable/state/return-events.ts";
import { applyPoolCommand } from "../../durable/state/ring-command.ts";
import { backendId, moment, NOON, pool, poolName } from "./support/build.ts";
import { Court } from "./support/court.ts";
import { report } from "./support/reports.ts";

type Patch = Extract<PoolCommand, { readonly kind: "patch-backend" }>["patch"];

/** A pool whose first backend an operator has changed. Tells what came back by that. */
function patched(held: Court, patch: Patch) {
  const next = applyPoolCommand(
    held.ring,
    { kind: "patch-backend", id: backendId("a"), patch },
    {
      ...moment(held.nowMs),
      pool: poolName("shop"),
      precondition: { ifMatch: null, ifAbsent: false },
      birth: { incarnation: "unused", secret: "unused" },
    },
  );
  if (!next.ok || next.value.state.kind === "absent") throw new Error("the change was refused");
  const { state } = next.value;
  const events = returnEvents(held.ring, state, "operator", held.nowMs);
  held.adopt(state);
  return events;
}

function ejected(): Court {
  const held = new Court(pool({ a: 1, b: 1, c: 1 }));
  held.hear(report({ a: { server_error: 60 } }));
  expect(healthOf(held.backend("a"))).toBe("unhealthy");
  held.wait(1_000);
  return held;
}

it.each([{ url: "https://new.example" }, { via: "VPC" }])(
  "a backend that is moved to %o begins anew",
  (to) => {
    const held = ejected();
    const before = held.ring.version;
    expect(patched(held, to)).toMatchObject([
      { backend: "a", kind: "returned", cause: "operator", evidence: { outMs: 1_000 } },
    ]);
    expect(held.ring.version).toBe(before + 1);
    expect(held.backend("a")).toMatchObject({
      addedMs: epochMs(0),
      servingSinceMs: held.nowMs,
      observed: { passive: { kind: "in", times: 0, sinceMs: held.nowMs }, announced: null },
    });
  },
);

it("what was seen at the old URL does not count at the new one, within the same moment either", () => {
  const held = new Court(pool({ a: 1, b: 1, c: 1 }));
  held.hear(report({ a: { server_error: 49 } }));
  patched(held, { url: "https://new.example" });
  expect(held.hear(report({ a: { server_error: 1 } }))).toEqual([]);
  expect(held.hear(report({ a: { server_error: 49 } }))).toMatchObject([{ kind: "ejected" }]);
});

it("a word that was said at the old URL is not taken from the new one", () => {
  const { config } = pool();
  const held = new Court(pool({ a: 1, b: 1 }, { health: { ...config.health, trustAnnouncements: true } }));
  held.hear(report({ a: { announced: "draining" } }));
  expect(held.backend("a").observed.announced).toMatchObject({ word: "draining" });
  patched(held, { url: "https://new.example" });
  held.wait(1_000);
  expect(held.hear(report({ a: { answered: 1 } }))).toEqual([]);
  expect(held.backend("a").observed.announced).toBeNull();
});

it("a pin and an ejection stay where only weight and labels change", () => {
  const held = ejected();
  const pin = { health: "healthy", reason: "it must serve", untilMs: after(NOON, 60_000) } as const;
  held.change("a", { pin });
  expect(patched(held, { weight: 5, labels: { [backendId("zone")]: "x" } })).toEqual([]);
  expect(held.backend("a")).toMatchObject({ pin, observed: { passive: { kind: "ejected" } } });
  patched(held, { url: "https://new.example" });
  expect(held.backend("a").pin).toEqual(pin);
});
