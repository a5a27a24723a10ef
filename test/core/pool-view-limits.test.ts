import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PolicySchema } from "../../durable/model/pool.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { PoolView } from "../../worker/core/pool-view.ts";
import type { SubChannel } from "../../worker/core/sub-channel.ts";
import { NOON, snapshot } from "./support/build.ts";
import { choose, connection, placeOf, poolConfig, visit } from "./support/visit.ts";

const BY_CONNECTION = [{ by: "connection" }] as const;

function limited(
  maxInFlight: number | null,
  backends: Parameters<typeof snapshot>[0] = { a: 1, b: 1, c: 1 },
  told: Readonly<Record<string, unknown>> = {},
): Snapshot {
  return snapshot(backends, { config: poolConfig({ maxInFlight, ...told }) });
}

/** Begins an attempt that goes on; null when none may begin. */
function begin(view: PoolView, told: Parameters<typeof visit>[0] = {}): SubChannel | null {
  const choice = view.choose(visit(told));
  return choice.kind === "backend" ? choice.channel : null;
}

describe("a limit of requests in flight", () => {
  it.each(PolicySchema.options)("is never exceeded, whatever begins and ends: %s", (policy) => {
    const events = fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 40 }), fc.nat({ max: 99 })), {
      maxLength: 120,
    });
    const limits = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(limits, events, (maxInFlight, history) => {
        const view = new PoolView(limited(maxInFlight, { a: 3, b: 1, c: { tier: 0 } }), NOON, 0);
        const open: SubChannel[] = [];
        for (const [kind, which, percent] of history) {
          const ended = kind === 0 ? open.splice(which % Math.max(1, open.length), 1) : [];
          for (const channel of ended) channel.end();
          const wasFull = open.length === 3 * maxInFlight;
          const affinity = kind === 1 ? BY_CONNECTION : [];
          const told = { policy, affinity, connection: connection(`tls ${which}`), chance: percent / 100 };
          const begun = kind === 0 ? null : begin(view, told);
          if (begun !== null) open.push(begun);
          for (const { inFlight } of view.channels()) expect(inFlight).toBeLessThanOrEqual(maxInFlight);
          // What is free is refused only when nobody has room.
          expect(kind === 2 && begun === null).toBe(kind === 2 && wasFull);
        }
      }),
    );
  });

  it("sends free requests elsewhere, and refuses them when everybody is full", () => {
    const view = new PoolView(limited(1), NOON, 0);
    const open = [1, 2, 3].map(() => begin(view));
    expect(new Set(open.map((channel) => channel?.id))).toEqual(new Set(["a", "b", "c"]));
    expect(view.choose(visit())).toEqual({ kind: "full" });
    expect(view.channels().map(({ inFlight }) => inFlight)).toEqual([1, 1, 1]);
    open[1]?.end();
    expect(placeOf(view, visit())).toBe(open[1]?.id);
  });

  it("lets the others take their turns by weight while one is full, and that one from then on where it was", () => {
    const view = new PoolView(limited(1, { a: 2, b: 1, c: 1 }), NOON, 0);
    const full = begin(view);
    expect(full?.id).toBe("a");
    const others = Array.from({ length: 12 }, () => placeOf(view, visit())).join("");
    expect(others).toMatch(/^(?:bc){6}$|^(?:cb){6}$/);
    full?.end();
    const after = Array.from({ length: 8 }, () => placeOf(view, visit())).join("");
    expect(["a", "b", "c"].map((id) => after.split(id).length - 1)).toEqual([4, 2, 2]);
  });

  it("refuses a bound request whose backend is full, and none of another's", () => {
    const view = new PoolView(limited(1), NOON, 0);
    const names = Array.from({ length: 30 }, (_, index) => `tls ${index}`);
    const homes = names.map((name) =>
      placeOf(view, visit({ affinity: BY_CONNECTION, connection: connection(name) })),
    );
    const [home] = homes;
    const open = begin(view, { affinity: BY_CONNECTION, connection: connection("tls 0") });
    expect(open?.id).toBe(home);
    const now = names.map((name) =>
      placeOf(view, visit({ affinity: BY_CONNECTION, connection: connection(name) })),
    );
    expect(now).toEqual(homes.map((id) => (id === home ? "full" : id)));
    open?.end();
    expect(placeOf(view, visit({ affinity: BY_CONNECTION, connection: connection("tls 0") }))).toBe(home);
  });

  const TOKENS = {
    affinity: [{ by: "token" }, { by: "connection" }],
    tokens: { cookie: null, header: "ring-token" },
  } as const;

  // Beside three idle backends a new client was refused, and on its next request again: it was bound to the full one.
  it.each([
    ["connection", BY_CONNECTION],
    ["session", TOKENS.affinity],
  ] as const)(
    "places every new %s with somebody who has room, and refuses those when nobody has",
    (_, affinity) => {
      const view = new PoolView(limited(1, { a: 1, b: 1, c: 1, d: 1 }, { ...TOKENS, affinity }), NOON, 0);
      const open = [1, 2, 3, 4].map((index) =>
        begin(view, { affinity, connection: connection(`tls ${index}`) }),
      );
      expect(new Set(open.map((channel) => channel?.id))).toEqual(new Set(["a", "b", "c", "d"]));
      const fifth = visit({ affinity, connection: connection("tls 5") });
      expect(view.choose(fifth)).toEqual({ kind: "full" });
      for (const channel of open) {
        channel?.end();
        expect(placeOf(view, fifth)).toBe(open[0]?.id);
      }
    },
  );

  /** A token for a session on a backend. */
  function tokenFor(view: PoolView, id: string): Readonly<Record<string, string>> {
    const granted = Array.from({ length: 20 }, (_, index) =>
      choose(view, visit({ affinity: TOKENS.affinity, connection: connection(`tls ${index}`) })),
    );
    const grant = granted.find(({ channel }) => channel.id === id)?.grant ?? null;
    if (grant === null) throw new Error(`nobody came to ${id}`);
    return { "ring-token": view.sessions.write(grant, NOON, new Uint8Array(26))[0]?.[1] ?? "" };
  }

  it("places sessions whose backend is gone with somebody who has room, and refuses them when nobody has", () => {
    const everybody = { a: 1, b: 1, c: 1, d: 1 };
    const headers = tokenFor(new PoolView(limited(1, everybody, TOKENS), NOON, 0), "b");
    const gone = limited(1, { ...everybody, b: { admits: "none", serverId: 1 } }, TOKENS);
    const view = new PoolView(gone, NOON, 0);
    const lost = { affinity: TOKENS.affinity, headers };
    const open = [1, 2, 3].map(() => begin(view, lost));
    expect(new Set(open.map((channel) => channel?.id))).toEqual(new Set(["a", "c", "d"]));
    expect(view.choose(visit(lost))).toEqual({ kind: "full" });
    open[1]?.end();
    expect(placeOf(view, visit(lost))).toBe(open[1]?.id);
  });

  // Led to two backends, both would have been told to be the same session's.
  it("begins another session where another isolate leads the same connection to another backend", () => {
    const ask = visit({ affinity: TOKENS.affinity, connection: connection("tls 1") });
    const config = limited(1, { a: 1, b: 1 }, TOKENS);
    const [one, same, other] = [
      new PoolView(config, NOON, 0),
      new PoolView(config, NOON, 0.5),
      new PoolView(config, NOON, 0),
    ];
    const { channel: home, grant } = choose(one, ask);
    expect(grant?.sessionId).toMatch(/^[0-9a-f]{16}$/);
    expect(choose(same, ask)).toMatchObject({
      channel: { id: home.id },
      grant: { sessionId: grant?.sessionId },
    });
    other
      .channels()
      .find(({ id }) => id === home.id)
      ?.begin(NOON);
    const elsewhere = choose(other, ask);
    expect(elsewhere.channel.id).not.toBe(home.id);
    expect(elsewhere.grant?.sessionId).toMatch(/^[0-9a-f]{16}$/);
    expect(elsewhere.grant?.sessionId).not.toBe(grant?.sessionId);
  });

  it("refuses a session whose backend is full", () => {
    const view = new PoolView(limited(1, { a: 1, b: 1, c: 1 }, TOKENS), NOON, 0);
    const told = { affinity: TOKENS.affinity, headers: tokenFor(view, "b") };
    const open = begin(view, told);
    expect(open?.id).toBe("b");
    expect(view.choose(visit(told))).toEqual({ kind: "full" });
  });

  it("refuses nothing that is open when it is lowered, and nothing any more when it is taken away", () => {
    const view = new PoolView(limited(3, { a: 1 }), NOON, 0);
    const open = [1, 2, 3].map(() => begin(view));
    view.adopt(limited(1, { a: 1 }), NOON, 0);
    expect(view.channels()[0]?.inFlight).toBe(3);
    for (const channel of open) {
      expect(placeOf(view, visit())).toBe("full");
      channel?.end();
    }
    expect(placeOf(view, visit())).toBe("a");
    begin(view);
    expect(placeOf(view, visit())).toBe("full");
    view.adopt(limited(null, { a: 1 }), NOON, 0);
    expect(placeOf(view, visit())).toBe("a");
  });

  it("holds for a backend that comes back while something is open there", () => {
    const view = new PoolView(limited(1, { a: 1 }), NOON, 0);
    const open = begin(view);
    view.adopt(limited(1, { b: 1 }), NOON, 0);
    expect(placeOf(view, visit())).toBe("b");
    view.adopt(limited(1, { a: 1 }), NOON, 0);
    expect(placeOf(view, visit())).toBe("full");
    open?.end();
    expect(placeOf(view, visit())).toBe("a");
  });
});

function shedding(shed: Readonly<Record<string, number>>, told: object = {}): PoolView {
  return new PoolView(snapshot({ a: 1, b: 1 }, { config: poolConfig({ shed, ...told }) }), NOON, 0);
}

/** How many of 1,000 free requests are shed, whose chances are spread evenly; and where the others go. */
function freely(view: PoolView, policy: "round_robin" | "random" = "round_robin") {
  const places = Array.from({ length: 1_000 }, (_, step) =>
    placeOf(view, visit({ policy, chance: (step + 0.5) / 1_000 })),
  );
  return Object.fromEntries(
    ["shed", "a", "b"].map((kind) => [kind, places.filter((at) => at === kind).length]),
  );
}

describe("shedding", () => {
  const NAMES = Array.from({ length: 2_000 }, (_, index) => `tls ${index}`);

  /** Of the connections, those that are shed. */
  function shedOf(view: PoolView): ReadonlySet<string> {
    const isShed = (name: string) =>
      placeOf(view, visit({ affinity: BY_CONNECTION, connection: connection(name) })) === "shed";
    return new Set(NAMES.filter(isShed));
  }

  it.each([0, 1, 37, 50, 99, 100])(
    "turns exactly %i %% of unbound requests away, and spreads the rest evenly",
    (newPercent) => {
      const left = (1_000 - 10 * newPercent) / 2;
      for (const policy of ["round_robin", "random"] as const) {
        const { shed, a = 0, b = 0 } = freely(shedding({ newPercent }), policy);
        expect(shed).toBe(10 * newPercent);
        expect(Math.abs(a - left) + Math.abs(b - left)).toBeLessThanOrEqual(2);
      }
    },
  );

  it("turns away its part of what is bound, always the same", () => {
    const shed = shedOf(shedding({ sessionPercent: 30 }));
    expect(Math.abs(shed.size - 600)).toBeLessThan(4 * Math.sqrt(2_000 * 0.3 * 0.7));
    expect(shedOf(shedding({ sessionPercent: 30 }))).toEqual(shed);
    expect(shedOf(shedding({ sessionPercent: 0 })).size).toBe(0);
    expect(shedOf(shedding({ sessionPercent: 100 })).size).toBe(2_000);
  });

  it("turns away all of them still when the part grows", () => {
    const sets = [5, 20, 21, 80].map((sessionPercent) => shedOf(shedding({ sessionPercent })));
    for (const [index, less] of sets.slice(0, -1).entries()) {
      expect([...less].every((name) => sets[index + 1]?.has(name))).toBe(true);
    }
  });

  it("tells what is bound from what is not", () => {
    const unbound = shedding({ newPercent: 100 });
    expect(placeOf(unbound, visit())).toBe("shed");
    expect(shedOf(unbound).size).toBe(0);
    const bound = shedding({ sessionPercent: 100 });
    expect(freely(bound)["shed"]).toBe(0);
    const nameless = visit({ affinity: BY_CONNECTION });
    expect([placeOf(unbound, nameless), placeOf(bound, nameless)]).toEqual(["shed", "a"]);
  });

  it("knows a session by its token, on whichever connection it comes", () => {
    const told = { affinity: [{ by: "token" }], tokens: { cookie: null, header: "ring-token" } };
    const view = shedding({}, told);
    const { affinity } = view.snapshot.config;
    const tokens = Array.from({ length: 400 }, (_, index) => {
      const { grant } = choose(view, visit({ affinity, connection: connection(`tls ${index}`) }));
      const random = Uint8Array.from({ length: 26 }, (__, at) => (index >>> (8 * (at % 4))) & 255);
      return grant === null ? "" : (view.sessions.write(grant, NOON, random)[0]?.[1] ?? "");
    });
    const shedBy = (name: string) => {
      const half = shedding({ newPercent: 100, sessionPercent: 50 }, told);
      return tokens.map((token) =>
        placeOf(half, visit({ affinity, headers: { "ring-token": token }, connection: connection(name) })),
      );
    };
    const places = shedBy("tls one");
    expect(shedBy("tls other")).toEqual(places);
    expect(Math.abs(places.filter((place) => place === "shed").length - 200)).toBeLessThan(
      4 * Math.sqrt(100),
    );
  });

  const CHAIN = {
    affinity: [{ by: "token" }, { by: "connection" }],
    tokens: { cookie: null, header: "ring-token" },
  } as const;
  const { affinity } = CHAIN;

  /** A first request of each connection, and what it gets to carry from then on; null when it is shed. */
  function firsts(view: PoolView): readonly (Readonly<Record<string, string>> | null)[] {
    return NAMES.map((name) => {
      const choice = view.choose(visit({ affinity, connection: connection(name) }));
      if (choice.kind !== "backend" || choice.grant === null) return null;
      return { "ring-token": view.sessions.write(choice.grant, NOON, new Uint8Array(26))[0]?.[1] ?? "" };
    });
  }

  // A client was let in by what names its connection, and turned away by its session's id as soon as it had one.
  it("turns away no session that it let begin, and lets none begin that it would turn away", () => {
    const begun = firsts(shedding({ sessionPercent: 50 }, CHAIN));
    expect(firsts(shedding({ sessionPercent: 50 }, CHAIN))).toEqual(begun);
    expect(Math.abs(begun.filter((headers) => headers === null).length - 1_000)).toBeLessThan(
      4 * Math.sqrt(2_000 * 0.25),
    );
    const half = shedding({ sessionPercent: 50 }, CHAIN);
    const later = firsts(shedding({}, CHAIN)).map((headers) =>
      placeOf(half, visit({ affinity, headers: headers ?? {} })),
    );
    expect(later.map((place) => place === "shed")).toEqual(begun.map((headers) => headers === null));
  });

  it("turns away its part of new sessions, always the same, and all when it is 100 %", () => {
    const quarter = shedding({ newPercent: 25 }, CHAIN);
    const first = firsts(quarter);
    expect(Math.abs(first.filter((headers) => headers === null).length - 500)).toBeLessThan(
      4 * Math.sqrt(2_000 * 0.25 * 0.75),
    );
    // A client that tries again, here or elsewhere, is no less new.
    expect(firsts(quarter)).toEqual(first);
    expect(firsts(shedding({ newPercent: 25 }, CHAIN))).toEqual(first);
    expect(firsts(shedding({ newPercent: 100 }, CHAIN))).toEqual(NAMES.map(() => null));
  });

  it.each([
    ["a value", [{ by: "token" }, { by: "header", name: "x-user" }], { headers: { "x-user": "u" } }],
    ["nothing", [{ by: "token" }], {}],
    [
      "a token that cannot be read",
      affinity,
      { headers: { "ring-token": "made up" }, connection: connection("1") },
    ],
  ] as const)(
    "takes a request without a session for new also when the chain knows it by %s",
    (_, chain, told) => {
      const view = shedding({ newPercent: 100 }, { ...CHAIN, affinity: chain });
      expect(placeOf(view, visit({ affinity: chain, ...told }))).toBe("shed");
    },
  );

  it("takes for no new session what carries its token, nor a connection that it knows", () => {
    const view = shedding({}, CHAIN);
    const begun = firsts(view);
    view.adopt({ ...view.snapshot, config: poolConfig({ ...CHAIN, shed: { newPercent: 100 } }) }, NOON, 0);
    const places = NAMES.flatMap((name, index) => [
      placeOf(view, visit({ affinity, connection: connection(name) })),
      placeOf(view, visit({ affinity, headers: begun[index] ?? {} })),
    ]);
    expect(places).not.toContain("shed");
  });

  it("counts nothing as in flight, and binds nothing", () => {
    const view = shedding({ newPercent: 100, sessionPercent: 100 });
    view.choose(visit());
    view.choose(visit({ affinity: BY_CONNECTION, connection: connection("tls 1") }));
    expect(view.channels().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  });
});

function keyless(keylessPolicy: string): PoolView {
  return new PoolView(snapshot({ a: 1, b: 1, c: 1 }, { config: poolConfig({ keylessPolicy }) }), NOON, 0);
}

/** Where six requests are led whose chances are spread evenly. */
function turns(view: PoolView, told: Parameters<typeof visit>[0]): string {
  return Array.from({ length: 6 }, (_, step) => placeOf(view, visit({ ...told, chance: step / 6 }))).join("");
}

describe("a request without key, where the policy hashes,", () => {
  it.each([
    ["round_robin", "abcabc"],
    ["first", "aaaaaa"],
    ["random", "aabbcc"],
  ])("is led by the policy that the pool names for it: %s", (policy, order) => {
    expect(turns(keyless(policy), { policy: "maglev" })).toBe(order);
  });

  it("may be led by chance by a policy that hashes too", () => {
    const view = keyless("rendezvous");
    const places = Array.from({ length: 300 }, (_, step) =>
      placeOf(view, visit({ policy: "maglev", chance: step / 300 })),
    );
    expect(new Set(places)).toEqual(new Set(["a", "b", "c"]));
  });

  // Its connection was hashed, though the chain does not name it, and so hardly any request was without key.
  it.each([
    ["names only tokens", [{ by: "token" }]],
    ["names a header that is not there", [{ by: "token" }, { by: "header", name: "x-user" }]],
  ] as const)("is also one whose connection is known, where the chain %s", (_, affinity) => {
    const told = { policy: "maglev", affinity, connection: connection("tls 1") } as const;
    expect(turns(keyless("round_robin"), told)).toBe("abcabc");
  });

  it("is not one whose connection the chain names", () => {
    const told = { policy: "maglev", affinity: BY_CONNECTION, connection: connection("tls 1") } as const;
    expect(turns(keyless("round_robin"), told)).toMatch(/^(?:a{6}|b{6}|c{6})$/);
  });

  it("is the only one that it is for: not one with a key, nor one under a policy that needs none", () => {
    const view = keyless("first");
    const named = Array.from({ length: 50 }, (_, index) =>
      placeOf(view, visit({ policy: "maglev", connection: connection(`tls ${index}`) })),
    );
    expect(new Set(named)).toEqual(new Set(["a", "b", "c"]));
    expect(turns(view, { policy: "round_robin" })).toBe("abcabc");
  });
});
