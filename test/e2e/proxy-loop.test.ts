import { beforeAll, expect, it } from "vitest";
import { type Answer, valuesOf } from "./support-client.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {}, itself: {} });

let deployment: string;

beforeAll(async () => {
  deployment = (await stage.admin.do("GET", "/status")).body.deployment;
  // A backend that is the edge itself, and a route for the name by which it reaches it.
  await stage.admin.do("PATCH", "/pools/itself/backends/b", { url: stage.edgeUrl });
  await stage.admin.do("PUT", "/routes/again", { host: new URL(stage.edgeUrl).hostname, pool: "itself" });
});

function askAfter(cdnLoop: string): Promise<Answer> {
  return stage.scene("any").ask({ headers: [["CDN-Loop", cdnLoop]] });
}

it.each([
  ["alone", () => deployment],
  ["after another", () => `other-cdn; a="b", ${deployment}`],
  ["before another", () => `${deployment},other-cdn`],
  ["with parameters", () => `${deployment} ;v=1`],
])("refuses a request that has passed here before: named %s", async (_, cdnLoop) => {
  const answer = await askAfter(cdnLoop());
  expect(answer.status).toBe(508);
  expect(JSON.parse(answer.body.toString())).toMatchObject({ status: 508, title: "Loop detected" });
});

it.each([
  ["a name that begins like ours", () => `${deployment}0`],
  ["a name that ends like ours", () => `not-${deployment}`],
  ["our name as the parameter of another", () => `other-cdn; by=${deployment}`],
])("lets others pass, keeps their entry and adds its own: %s", async (_, name) => {
  const { headers } = await stage.scene("any").delivers({ headers: [["CDN-Loop", name()]] });
  expect(valuesOf(headers, "cdn-loop").join(", ")).toBe(`${name()}, ${deployment}`);
});

it("keeps the entries of others even when Connection nominates them", async () => {
  const { headers } = await stage.scene("any").delivers({
    headers: [
      ["Connection", "cdn-loop, via"],
      ["CDN-Loop", "other-cdn"],
      ["Via", "1.1 other-cdn"],
    ],
  });
  expect(valuesOf(headers, "cdn-loop").join(", ")).toBe(`other-cdn, ${deployment}`);
  expect(valuesOf(headers, "via").join(", ")).toBe(`1.1 other-cdn, 1.1 ${deployment}`);
});

it("ends a real loop after one round, and counts it", async () => {
  expect((await stage.scene("itself").ask()).status).toBe(508);
  await expect
    .poll(async () => (await stage.scene("itself").status()).incidents.loop, { timeout: 5_000 })
    .toBeGreaterThan(0);
});
