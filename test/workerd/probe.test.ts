import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { makeProbe } from "../../durable/io/probe.ts";
import type { ProbeResult, ProbeTask } from "../../durable/model/health.ts";
import { HealthCheckSchema } from "../../durable/model/health-check.ts";
import { id } from "./support.ts";

// A backend reached through a binding, so that it can do what no server on loopback can: answer as the platform does.

type Answer = (request: Request) => Response | Promise<Response>;

const URL_OF_A = "https://a.example/base";

function task(words: object = {}): ProbeTask {
  const { probe } = v.parse(HealthCheckSchema, { probe: { kind: "http", ...words } });
  if (probe === null) throw new Error("there is no probe");
  return { id: id("a"), url: URL_OF_A, via: "BACKEND", probe };
}

function ask(
  answer: Answer,
  words: object = {},
  secrets: Record<string, unknown> = {},
): Promise<ProbeResult> {
  const fetcher = { fetch: async (url: string, init: RequestInit) => answer(new Request(url, init)) };
  const bindings = new Map<string, unknown>(Object.entries({ BACKEND: fetcher, ...secrets }));
  return makeProbe(task(words), (name) => bindings.get(name));
}

function says(status: number, headers: Record<string, string> = {}, body: string | null = "well"): Answer {
  return () => new Response(body, { status, headers });
}

function tells(): Promise<Response> {
  return Promise.reject(new Error("Bearer abc was refused by the connection pool"));
}

function breaks(): Promise<Response> {
  return Promise.reject(new Error("Network connection lost."));
}

/** A body that gives out what it is asked for, counts it, and never ends. */
class Endless {
  givenBytes = 0;
  isCancelled = false;
  readonly #letter: string;
  readonly #chunkBytes: number;

  constructor(letter: string, chunkBytes: number) {
    this.#letter = letter;
    this.#chunkBytes = chunkBytes;
  }

  answer(): Response {
    const pull = async (controller: ReadableByteStreamController): Promise<void> => {
      await scheduler.wait(1);
      this.givenBytes += this.#chunkBytes;
      controller.enqueue(new TextEncoder().encode(this.#letter.repeat(this.#chunkBytes)));
    };
    const cancel = (): void => {
      this.isCancelled = true;
    };
    return new Response(new ReadableStream({ type: "bytes", pull, cancel }));
  }
}

describe("a response", () => {
  it.each([
    ["is well by its status", says(204, {}, null), {}, { kind: "passed", health: "healthy" }],
    ["is not by another", says(300), {}, { kind: "failed", isImmediate: false, evidence: "status 300" }],
    ["is well by one of several ranges", says(301), { expect: ["200", "301-302"] }, { kind: "passed" }],
    ["is not followed", says(302, { location: "https://b.example" }), {}, { evidence: "status 302" }],
    ["holds the text", says(200, {}, "all WELL"), { contains: "Well" }, { kind: "passed" }],
    [
      "holds it not",
      says(200, {}, "no"),
      { contains: "well" },
      { evidence: "status 200 without the text expected" },
    ],
    ["holds no body", says(204, {}, null), { contains: "well" }, { kind: "failed" }],
    ["holds it too late", says(200, {}, "0123well"), { contains: "well", bodyBytes: 7 }, { kind: "failed" }],
    [
      "holds it at the end of the limit",
      says(200, {}, "0123well"),
      { contains: "well", bodyBytes: 8 },
      { kind: "passed" },
    ],
    [
      "fails at once",
      says(200, { "x-fail": "" }),
      { failHeader: "x-fail" },
      { kind: "failed", isImmediate: true },
    ],
    [
      "fails at once by a 404 too",
      says(404, { "x-fail": "" }),
      { failHeader: "x-fail", stopOn404: true },
      { isImmediate: true },
    ],
    [
      "is degraded",
      says(200, { "x-weak": "1" }),
      { degradedHeader: "x-weak" },
      { kind: "passed", health: "degraded" },
    ],
    ["is no more than ill", says(500, { "x-weak": "1" }), { degradedHeader: "x-weak" }, { kind: "failed" }],
    ["stops by a 404", says(404), { stopOn404: true, contains: "x" }, { kind: "passed", isStopping: true }],
    ["fails by a 404", says(404), {}, { kind: "failed", isImmediate: false }],
    [
      "is the platform's",
      says(522),
      { expect: ["200-599"] },
      { evidence: "status 522: the platform did not reach it" },
    ],
    ["is the platform's timeout", says(524), { expect: ["200-599"] }, { kind: "failed" }],
    [
      "is the platform's refusal",
      says(403, { server: "cloudflare", "content-length": "16" }, "error code: 1003"),
      { expect: ["403"] },
      { kind: "failed", evidence: "status 403: the platform does not fetch this address (1003)" },
    ],
  ] as const)("%s", async (_, answer, words, result) => {
    expect(await ask(answer, words)).toMatchObject(result);
  });
});

describe("a request", () => {
  it("is asked past caches, with what is configured, at the origin whatever the path looks like", async () => {
    const asked: Request[] = [];
    const words = {
      method: "HEAD",
      path: "//other.example/x?y=1",
      headers: [
        { name: "x-kind", value: "probe" },
        { name: "x-key", secret: "KEY" },
      ],
    };
    const answer: Answer = (request) => {
      asked.push(request);
      return new Response(null);
    };
    expect(await ask(answer, words, { KEY: "secret" })).toMatchObject({ kind: "passed" });
    const [request] = asked;
    expect(request).toMatchObject({
      method: "HEAD",
      url: "https://a.example//other.example/x?y=1",
      redirect: "manual",
      cache: "no-store",
    });
    expect(Object.fromEntries(request?.headers ?? [])).toEqual({
      "user-agent": "ringmaster-probe",
      "x-kind": "probe",
      "x-key": "secret",
    });
  });

  it.each([
    ["is not set", {}, "the secret KEY for the header x-key is not set"],
    ["is no text", { KEY: { fetch: () => {} } }, "the secret KEY for the header x-key is not set"],
    ["fits into no header", { KEY: "one\ntwo" }, "the header x-key cannot hold the value of the secret KEY"],
  ])("is not sent when a secret %s, and fails by its name", async (_, secrets, evidence) => {
    let asked = 0;
    const answer: Answer = () => {
      asked += 1;
      return new Response();
    };
    const words = { headers: [{ name: "x-key", secret: "KEY" }] };
    expect(await ask(answer, words, secrets)).toMatchObject({ kind: "failed", evidence });
    expect(asked).toBe(0);
  });

  it("fails when the backend's binding is none", async () => {
    const result = await makeProbe({ ...task(), via: "NOTHING" }, () => undefined);
    expect(result).toMatchObject({ kind: "failed", evidence: expect.stringContaining("NOTHING") });
  });

  it("tells of an exception in words of its own, since it may hold anything", async () => {
    expect(JSON.stringify(await ask(tells))).not.toContain("abc");
    expect(await ask(breaks)).toMatchObject({ kind: "failed", evidence: "the connection was lost" });
  });
});

describe("a backend that", () => {
  it("never answers costs its timeout, and is told that nobody waits any more", async () => {
    let isTold = false;
    const answer: Answer = ({ signal }) =>
      new Promise(() => {
        signal.addEventListener("abort", () => (isTold = true));
      });
    const result = await ask(answer, { timeoutMs: 100 });
    expect(result).toMatchObject({ kind: "failed", evidence: "not over after 100 ms" });
    expect(result.tookMs).toBeLessThan(1_000);
    expect(isTold).toBe(true);
  });

  it("drips costs its timeout too", async () => {
    const body = new Endless("x", 1);
    const result = await ask(() => body.answer(), { contains: "well", timeoutMs: 100 });
    expect(result).toMatchObject({ kind: "failed", evidence: "not over after 100 ms" });
    expect(result.tookMs).toBeLessThan(1_000);
  });

  it("drips what is waited for has passed as soon as it is there", async () => {
    const body = new Endless("w", 1);
    expect(await ask(() => body.answer(), { contains: "WWW" })).toMatchObject({ kind: "passed" });
  });

  it("sends without end is read as far as the limit", async () => {
    const body = new Endless("x", 1_000);
    const result = await ask(() => body.answer(), { contains: "well", bodyBytes: 5_000 });
    expect(result).toMatchObject({ kind: "failed", evidence: "status 200 without the text expected" });
    expect(body.givenBytes).toBeLessThan(10_000);
    expect(body.isCancelled).toBe(true);
  });
});
