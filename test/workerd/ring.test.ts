import { env } from "cloudflare:workers";
import { expect, it } from "vitest";

it("answers a read of a pool that does not exist with a refusal", async () => {
  const stub = env.RING.getByName("nothing");
  const response = await stub.fetch("https://itty-durable/do/call/view");
  expect(await response.json()).toEqual({
    ok: false,
    refusal: { kind: "not-found", detail: "this pool does not exist" },
  });
});
