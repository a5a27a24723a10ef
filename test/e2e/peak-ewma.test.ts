import { expect, inject, it, onTestFinished } from "vitest";
import { startBackend } from "../support/backend.ts";
import { Cluster } from "../support/cluster.ts";

const SLOW_MS = 300;
const ROUNDS = 20;
const AT_ONCE = 8;

it("leads few requests to a backend that answers slowly, and all others elsewhere", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: ["a", "b"] });
  const slow = await startBackend("slow", (_request, response) => {
    setTimeout(() => response.setHeader("x-backend", "slow").end(), SLOW_MS);
  });
  onTestFinished(() => slow.stop());
  await cluster.admin.do("PUT", "/pools/default", {
    policy: "peak_ewma",
    backends: [cluster.backend("a"), cluster.backend("b"), { id: "slow", url: slow.url }],
  });
  const served: (string | null)[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => cluster.ask()));
    served.push(...answers.map(({ backend }) => backend));
  }
  expect(new Set(served)).toEqual(new Set(["a", "b", "slow"]));
  const share = served.filter((backend) => backend === "slow").length / served.length;
  expect(share).toBeLessThan(1 / 6);
});
