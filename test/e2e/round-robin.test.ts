import { expect, inject, it } from "vitest";
import { Cluster } from "../support/cluster.ts";

it.each([
  { weights: { a: 5, b: 1, c: 1 }, order: "aabacaa" },
  { weights: { a: 3, b: 2, c: 1 }, order: "abacba" },
])("serves weights $weights exactly, in the published order, from any phase", async ({ weights, order }) => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: Object.keys(weights) });
  await cluster.admin.do("PUT", "/pools/default", {
    backends: Object.entries(weights).map(([id, weight]) => cluster.backend(id, weight)),
  });
  let served = "";
  for (let request = 0; request < 5 * order.length; request++) served += (await cluster.ask()).backend;
  // A new isolate begins anywhere in the rotation, and goes round it from there.
  expect(order.repeat(7)).toContain(served);
});

it("chooses per request on one client connection, and a newcomer joins without a reconnect", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b", "c"] });
  await cluster.admin.do("PUT", "/pools/default", {
    sync: { refreshMs: 500, leaseMs: 1_000 },
    backends: [cluster.backend("a"), cluster.backend("b")],
  });
  const ask = { connection: "one client" };
  expect(new Set([(await cluster.ask(ask)).backend, (await cluster.ask(ask)).backend])).toEqual(
    new Set(["a", "b"]),
  );
  await cluster.admin.do("PUT", "/pools/default/backends/c", { url: cluster.backend("c").url });
  await cluster.converge();
  const next = [await cluster.ask(ask), await cluster.ask(ask), await cluster.ask(ask)];
  expect(next.map((answer) => answer.backend).toSorted()).toEqual(["a", "b", "c"]);
});
