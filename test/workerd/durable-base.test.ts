import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import * as v from "valibot";
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { type Callable, DurableBase } from "../../durable/io/durable-base.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { PoolDocumentSchema } from "../../durable/model/pool.ts";
import { accepted, backend, freezeTime, id, pool, type RawReply, report, ring } from "./support.ts";

// The traps that itty-durable was seen to have, one by one.

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

describe("loading", () => {
  it("shows the stored state to an alarm that wakes an evicted object, which leaves it as it is", async () => {
    const held = ring("base-cold-alarm");
    await held.put({ a: 5, b: 1 });
    await held.drain("a", 60_000);
    const before = await held.view();
    await held.evict();
    expect(await held.runAlarm()).toBe(true);
    await held.evict();
    expect(await held.view()).toEqual(before);
  });

  it("loads once when several first calls come together, and lets none through before", async () => {
    const probe = startProbe("base-load-once");
    const replies = await Promise.all([probe.call("loads"), probe.call("loads"), probe.call("loads")]);
    expect(replies.map(({ text }) => text)).toEqual(['{"loads":1}', '{"loads":1}', '{"loads":1}']);
  });

  it("counts every one of the calls that come together to an evicted object", async () => {
    const held = ring("base-cold-calls");
    await held.put({ a: 1 });
    await held.evict();
    const isolates = ["isolate-1", "isolate-2", "isolate-3", "isolate-4"];
    await Promise.all(
      isolates.map((isolate) => held.lease({ isolate, report: report({ a: { answered: 1 } }) })),
    );
    const status = await held.status();
    expect(status.convergence.isolates).toBe(4);
    expect(status.backends).toMatchObject([{ id: "a", outcomes: { answered: 4 } }]);
  });

  it("loses nothing when the object is evicted between a write and a read", async () => {
    const held = ring("base-evict");
    await held.put({ a: 5, b: { weight: 1, labels: { zone: "west" } } }, { policy: "rendezvous" });
    const before = await held.view();
    await held.evict();
    expect(await held.view()).toEqual(before);
  });
});

describe("the environment", () => {
  it("reaches the object, and a binding called like a part of its state leaves that as it is", async () => {
    const probe = startProbe("base-environment", { storage: "a binding", id: "another", KEY: "a secret" });
    expect((await probe.call("loads")).text).toBe('{"loads":1}');
    expect((await probe.call("key")).text).toBe('{"key":"a secret"}');
  });

  // itty-durable serialises what it takes for the object's own state, and what is bound may have a `toJSON` to be called.
  it("is no part of what itty-durable would persist or show", async () => {
    const called = vi.fn<() => string>();
    const probe = startProbe("base-environment-shown", { KEY: "a secret", SERVICE: { toJSON: called } });
    expect((await probe.call("shown")).text).not.toContain("environment");
    expect((await probe.call("shown")).text).not.toContain("a secret");
    expect(called).not.toHaveBeenCalled();
  });
});

describe("what the stub's URL reaches", () => {
  // Without `DurableBase` the last segment may name any property or method of the object, inherited ones included.
  it.each([
    "/do/set/callable",
    "/do/set/state",
    "/do/set/view",
    "/do/set/__proto__",
    "/do/set/constructor",
    "/do/get-prop/state",
    "/do/get-prop/callable",
    "/do/get-prop/environment",
    "/do/set/environment",
    "/do/call/environment",
    "/do/get-prop/__proto__",
    "/do/call/destroy",
    "/do/call/persist",
    "/do/call/reset",
    "/do/call/binding",
    "/do/call/alarm",
    "/do/call/load",
    "/do/call/onLoad",
    "/do/call/loadFromStorage",
    "/do/call/fetch",
    "/do/call/toJSON",
    "/do/call/deleteAlarm",
    "/do/call/setAlarm",
    "/do/call/constructor",
    "/do/call/hasOwnProperty",
    "/do/call/__proto__",
    "/do/call/nothing",
    "/do/call/view/more",
    "/do/call/view%20",
    "/do/call/",
    "/do/view",
    "/",
  ])("refuses %s, and nothing changes", async (path) => {
    const held = ring("base-urls", path);
    await held.put({ a: 5, b: 1 });
    await held.drain("a", 60_000);
    const before = [await held.view(), await held.alarmAtMs()];
    const bare = await held.raw(path);
    const withValue = await held.raw(path, { headers: { "do-content": '{"reads":["destroy"]}' } });
    const posted = await held.raw(path, { method: "POST", body: '{"reads":["destroy"]}' });
    expect([bare.status, withValue.status, posted.status]).toEqual([403, 403, 403]);
    expect([await held.view(), await held.alarmAtMs()]).toEqual(before);
    await held.evict();
    expect([await held.view(), await held.alarmAtMs()]).toEqual(before);
  });

  it.each(["http://itty-durable.example", "https://itty-durable:8443", "https://ring.example"])(
    "refuses a request to %s, which may be a client's",
    async (origin) => {
      const held = ring("base-hosts", origin);
      await held.put({ a: 1 });
      expect((await held.raw(`${origin}/do/call/view`)).status).toBe(403);
    },
  );

  it.each([
    ["POST", "view"],
    ["PUT", "view"],
    ["HEAD", "view"],
    ["GET", "apply"],
    ["PUT", "apply"],
    ["DELETE", "apply"],
    ["GET", "sync"],
    ["GET", "exportTokens"],
  ])("refuses %s of %s", async (method, name) => {
    const held = ring("base-methods", `${method} ${name}`);
    expect((await held.raw(`/do/call/${name}`, { method })).status).toBe(403);
  });

  it.each(["[1]", '[{"reset":true}]', "{}", "garbage"])(
    "refuses a read with arguments %s",
    async (content) => {
      const held = ring("base-arguments", content);
      await held.put({ a: 1 });
      const reply = await held.raw("/do/call/view", { headers: { "do-content": content } });
      expect(reply).toEqual({ status: 403, text: '{"status":403,"error":"view takes no arguments"}' });
    },
  );

  it("answers the same whatever other headers and cookies a request carries", async () => {
    const held = ring("base-headers");
    await held.put({ a: 5 });
    const plain = await held.raw("/do/call/view");
    const headers = {
      "do-name": "base-headers-other",
      "do-content": "[]",
      cookie: "ring=base-headers-other",
      authorization: "Bearer anything",
      upgrade: "websocket",
      "x-http-method-override": "DELETE",
    };
    expect(await held.raw("/do/call/view?do-content=[1]", { headers })).toEqual(plain);
  });
});

describe("what a call carries", () => {
  // What happened: the limit was the admin API's own, and counted characters. A document of 1,000 backends that the
  // admin API let in outgrew it by the defaults, which came out as 503; one of CJK could be three times as large.
  it("carries out the largest command that the admin API lets in", async () => {
    const held = ring("base-large");
    const written = JSON.stringify({ backends: listed(1_000, "x", 960) });
    expect(written.length).toBeGreaterThan(0.99 * LIMITS.bodyBytes);
    expect(written.length).toBeLessThanOrEqual(LIMITS.bodyBytes);
    const body = change(held.name, v.parse(PoolDocumentSchema, JSON.parse(written)));
    expect(body.length).toBeGreaterThan(LIMITS.bodyBytes);
    expect(await held.raw("/do/call/apply", { method: "POST", body })).toMatchObject({ status: 200 });
    await held.evict();
    expect((await held.view()).document.backends).toHaveLength(1_000);
  });

  it.each([
    ["ASCII", "x", 4_500],
    ["CJK, of three bytes a character", "環", 1_500],
  ])("refuses one far above it with 413, and nothing changes: %s", async (_, letter, length) => {
    const held = ring("base-too-large", letter);
    await held.put({ a: 5 });
    const before = await held.view();
    const body = change(held.name, { backends: listed(1_000, letter, length) });
    const reply = await held.raw("/do/call/apply", { method: "POST", body });
    expect(reply.status).toBe(413);
    expect(reply.text).toMatch(/at most \d+ bytes/);
    expect(await held.view()).toEqual(before);
  });

  it.each([
    ["emoji", "🎪🧑‍🚀"],
    ["CJK", "負荷分散"],
    ["a lone high surrogate", "x\uD83Cy"],
    ["a lone low surrogate", "\uDFAA"],
    ["control characters", "a\r\n\t\u0000b"],
    ["quotes and separators", `"'\\\u2028\u2029`],
    ["Latin-1", "größer"],
  ])("keeps %s in a label, over the wire and in storage", async (kind, text) => {
    const held = ring("base-text", kind);
    await held.do({ kind: "put-pool", document: pool() });
    await held.do({ kind: "put-backend", id: id("a"), backend: backend({ labels: { word: text } }) });
    await held.evict();
    expect((await held.view()).document.backends[0]?.labels[id("word")]).toBe(text);
  });
});

describe("failing", () => {
  let logged: MockInstance<Console["error"]>;
  beforeEach(() => {
    logged = vi.spyOn(console, "error").mockReturnValue();
  });
  afterEach(() => {
    logged.mockRestore();
  });

  it.each([
    ["read", { method: "GET" }],
    ["write", { method: "POST", body: "null" }],
  ])("answers 500 without a stack when a %s throws, logs it, and goes on", async (name, init) => {
    const probe = startProbe(`base-throws-${name}`);
    const reply = await probe.call(`${name}Throws`, init);
    expect(reply).toEqual({ status: 500, text: `{"status":500,"error":"the ${name} failed"}` });
    expect(logged).toHaveBeenCalledWith(expect.objectContaining({ message: `the ${name} failed` }));
    expect((await probe.call("loads")).status).toBe(200);
  });

  it.each([
    ["nothing", ""],
    ["null", "null"],
    ["broken JSON", "{"],
    ["a list", "[]"],
  ])("answers 500 to a command whose body is %s, and goes on", async (what, body) => {
    const held = ring("base-malformed", what);
    await held.put({ a: 1 });
    const reply = await held.raw("/do/call/apply", { method: "POST", body });
    expect(reply.status).toBe(500);
    expect(reply.text).not.toContain("durable-base");
    expect(accepted(await held.tryView()).document.backends).toHaveLength(1);
  });
});

/** A small object on the same ground as the two real ones, to see what those do not show. */
class Probe extends DurableBase {
  protected override readonly callable: Callable = {
    reads: ["loads", "key", "shown", "readThrows"],
    writes: ["writeThrows"],
  };
  #loads = 0;

  /** Waits for something that is not storage, which by itself lets other calls in meanwhile. */
  protected override async load(): Promise<void> {
    await scheduler.wait(10);
    this.#loads += 1;
  }

  async loads(): Promise<object> {
    return { loads: this.#loads };
  }

  async key(): Promise<object> {
    return { key: this.environment["KEY"] };
  }

  async shown(): Promise<object> {
    return { own: JSON.stringify(this.getPersistable()), state: String(this.state.defaultState) };
  }

  async readThrows(): Promise<object> {
    throw new Error("the read failed");
  }

  async writeThrows(): Promise<object> {
    throw new Error("the write failed");
  }
}

/** Makes a probe in the place of a ring. Every call is an event of its own, as requests are. */
function startProbe(
  name: string,
  environment: Readonly<Record<string, unknown>> = {},
): { call(method: string, init?: RequestInit): Promise<RawReply> } {
  const stub = env.RING.getByName(name);
  let probe: Probe | null = null;
  const started = runInDurableObject(stub, (_: DurableObject, state) => {
    probe = new Probe(state, environment);
  });
  return {
    async call(method, init) {
      const reply = runInDurableObject(stub, async () => {
        const response = await probe?.fetch(new Request(`https://itty-durable/do/call/${method}`, init));
        return { status: response?.status ?? 0, text: (await response?.text()) ?? "" };
      });
      await started;
      return reply;
    },
  };
}

/** Backends as an operator would write them, each with labels of `length` characters together. */
function listed(count: number, letter: string, length: number): object[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `b${index}`,
    url: "https://b.example",
    labels: Object.fromEntries(
      Array.from({ length: Math.ceil(length / 256) }, (__, label) => [
        `l${label}`,
        letter.repeat(Math.min(256, length - 256 * label)),
      ]),
    ),
  }));
}

function change(name: string, document: object): string {
  const precondition = { ifMatch: null, ifAbsent: false };
  const author = { operator: "operator tester", reason: null };
  return JSON.stringify({ pool: name, command: { kind: "put-pool", document }, precondition, author });
}
