import { expect, inject, it, onTestFinished } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { startBackend } from "../support/backend.ts";
import { startEdge } from "../support/edge.ts";

it("gives weights 5, 1, 1 exactly their share in every cycle", async () => {
  const backends = await Promise.all(["a", "b", "c"].map((id) => startBackend(id)));
  const edge = await startEdge({ bundle: inject("bundle") });
  onTestFinished(async () => {
    await edge.stop();
    await Promise.all(backends.map((backend) => backend.stop()));
  });
  const weights = [5, 1, 1];
  await new AdminClient(edge.urls[0]).do("PUT", "/pools/default", {
    backends: backends.map(({ id, url }, index) => ({ id, url, weight: weights[index] })),
  });
  let served = "";
  for (let request = 0; request < 21; request++) {
    const response = await fetch(edge.urls[0]);
    await response.arrayBuffer();
    served += response.headers.get("x-backend");
  }
  for (const cycle of served.match(/.{7}/g) ?? []) expect([...cycle].toSorted().join("")).toBe("aaaaabc");
});
