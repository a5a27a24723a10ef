import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, it, type MockInstance, vi } from "vitest";
import { createAdmin } from "../../worker/admin/app.ts";
import { GuessLimiter } from "../../worker/core/guess-limiter.ts";
import { parseSettings } from "../../worker/core/settings.ts";
import { DIRECTORY_NAME } from "../../worker/edge/ring-client.ts";
import { directory, freezeTime, poolName, ring } from "./support.ts";

// The admin API with the real objects, whose storage fails when a test says so.

const TOKEN = "a-token-of-sixteen";
const admin = createAdmin(parseSettings({ ALLOW_PRIVATE_BACKENDS: "true" }), new GuessLimiter());

let logged: MockInstance<Console["error"]>;
beforeEach(async () => {
  freezeTime();
  logged = vi.spyOn(console, "error").mockReturnValue();
  await put([], {});
});
afterEach(() => {
  logged.mockRestore();
  vi.useRealTimers();
});

interface Answer {
  readonly status: number;
  // The tests look into bodies of several shapes, and a wrong guess fails them.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

async function send(method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await admin.request(
    `/_ring${path}`,
    {
      method,
      headers: { authorization: `Bearer ${TOKEN}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    },
    { ...env, OPERATOR_TOKENS: `alice:${TOKEN}` },
  );
  return { status: response.status, body: await response.json() };
}

/** Puts a directory of these routes, and pools of one backend with that weight. */
function put(paths: readonly string[], weights: Readonly<Record<string, number>>): Promise<Answer> {
  const [pool] = Object.keys(weights);
  const routes = paths.map((path, index) => ({ id: `r${index}`, path, pool }));
  const pools = Object.entries(weights).map(([name, weight]) => ({
    name,
    document: { backends: [{ id: "a", url: "https://a.example", weight }] },
  }));
  return send("PUT", "/document", { routes, pools });
}

function steps({ body }: Answer): readonly string[] {
  return body.applied.map(({ step }: { readonly step: string }) => step);
}

it("stops where a ring fails, keeps what was done over an eviction, and repeating completes it", async () => {
  await put([], { "stop-a": 1, "stop-b": 1, "stop-c": 1 });
  const weights = { "stop-a": 2, "stop-b": 2, "stop-c": 2 };
  const mend = await ring("stop-b").breakWrites("rows");
  const stopped = await put(["/new"], weights);
  expect(stopped).toMatchObject({
    status: 503,
    body: { title: "Unavailable", remaining: ["pool stop-b", "pool stop-c", "routes"] },
  });
  expect(steps(stopped)).toEqual(["pool stop-a"]);
  await ring("stop-a").evict();
  await directory(DIRECTORY_NAME).evict();
  expect((await ring("stop-a").view()).document.backends).toMatchObject([{ weight: 2 }]);
  expect((await directory(DIRECTORY_NAME).view()).routes).toEqual([]);
  await mend();
  const repeated = await put(["/new"], weights);
  expect([repeated.status, steps(repeated)]).toEqual([200, ["pool stop-b", "pool stop-c", "routes"]]);
  expect((await ring("stop-a").view()).version).toBe(2);
});

it("keeps a pool on the list whose ring could not be told to go, so that repeating removes it", async () => {
  await put([], { "goes-a": 1, "goes-b": 1 });
  const mend = await ring("goes-b").breakWrites("head");
  const stopped = await put([], { "goes-a": 1 });
  expect(stopped).toMatchObject({ status: 503, body: { remaining: ["removal of pool goes-b"] } });
  expect((await send("GET", "/pools")).body.pools).toEqual(["goes-a", "goes-b"]);
  await mend();
  expect(steps(await put([], { "goes-a": 1 }))).toEqual(["removal of pool goes-b"]);
  expect((await send("GET", "/pools")).body.pools).toEqual(["goes-a"]);
  expect((await ring("goes-b").tryView()).ok).toBe(false);
});

it("leaves out of what it shows a pool that could not be made, and repeating makes it, or takes it off the list", async () => {
  const mend = await ring("comes-a").breakWrites("head");
  expect((await put([], { "comes-a": 1 })).status).toBe(503);
  expect((await send("GET", "/document")).body.pools).toEqual([]);
  await mend();
  expect(steps(await put([], { "comes-a": 1 }))).toEqual(["pool comes-a"]);
  expect((await send("GET", "/document")).body.pools).toMatchObject([{ name: "comes-a", version: 1 }]);
  const mendAgain = await ring("comes-b").breakWrites("head");
  await put([], { "comes-a": 1, "comes-b": 1 });
  expect(steps(await put([], { "comes-a": 1 }))).toEqual(["removal of pool comes-b"]);
  expect((await send("GET", "/pools")).body.pools).toEqual(["comes-a"]);
  await mendAgain();
});

it("lists a pool that was there and not on the list, and changes nothing of it", async () => {
  await put([], { "found-a": 1 });
  await directory(DIRECTORY_NAME).do({ kind: "remove-pool", name: poolName("found-a") });
  const { version } = await ring("found-a").view();
  expect(steps(await put([], { "found-a": 1 }))).toEqual(["pool found-a"]);
  expect((await send("GET", "/pools")).body.pools).toEqual(["found-a"]);
  expect((await ring("found-a").view()).version).toBe(version);
});
