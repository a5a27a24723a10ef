import { expect, it } from "vitest";
import { PROTOCOLS } from "../../durable/model/outcome.ts";
import { type Header, valuesOf } from "./support-client.ts";
import { STICKY } from "./support-drain.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {}, sticky: STICKY, counted: {}, idle: {} });

function cf(facts: unknown): Header {
  return ["MF-CF-Blob", JSON.stringify(facts)];
}

it.each(
  (["any", "sticky"] as const).flatMap((name) =>
    [
      undefined,
      {},
      [],
      { httpProtocol: null, tlsClientRandom: null },
      { httpProtocol: 3, tlsClientRandom: 7 },
      { httpProtocol: "HTTP/3" },
      { httpProtocol: "__proto__", tlsClientRandom: "__proto__" },
      { httpProtocol: ["HTTP/3"], tlsClientRandom: { toString: "x" } },
      { tlsClientRandom: "" },
      { tlsClientRandom: "\u0000\ud800 no base64 at all" },
      { tlsClientRandom: "x".repeat(10_000) },
      { colo: "FRA", unheardOf: { deep: [1, 2, 3] } },
    ].map((facts) => [name, facts] as const),
  ),
)("serves a request to a %s pool whatever the platform says of its client: %j", async (name, facts) => {
  const { path } = await stage
    .scene(name)
    .delivers({ path: "/x", headers: facts === undefined ? [] : [cf(facts)] });
  expect(path).toBe("/x");
});

it.each(["not an address", "", "::", "2001:db8::1", "1.2.3.4, 5.6.7.8", "é", "::ffff:1.2.3.4", ":::::::::"])(
  "serves a request to a sticky pool whatever its address is said to be: %j",
  async (address) => {
    const { path } = await stage
      .scene("sticky")
      .delivers({ path: "/x", headers: [["CF-Connecting-IP", address]] });
    expect(path).toBe("/x");
  },
);

it("counts requests by the protocol of the client, in the pool that served them", async () => {
  const scene = stage.scene("counted");
  const sent = { "HTTP/1.0": 1, "HTTP/1.1": 2, "HTTP/2": 3, "HTTP/3": 4 };
  for (const [httpProtocol, count] of Object.entries(sent)) {
    for (let index = 0; index < count; index++) await scene.delivers({ headers: [cf({ httpProtocol })] });
  }
  await scene.delivers({ headers: [cf({ httpProtocol: "SPDY/3" })] });
  await expect
    .poll(async () => (await scene.status()).protocols, { timeout: 5_000 })
    .toMatchObject({ ...sent, other: expect.toSatisfy((count: number) => count > 0) });
  const { protocols } = await stage.scene("idle").status();
  expect(PROTOCOLS.filter((protocol) => protocol !== "other" && protocols[protocol] > 0)).toEqual([]);
});

it("tells the backend the scheme in Via and nothing else of what the platform said", async () => {
  const { headers } = await stage
    .scene("any")
    .delivers({ headers: [cf({ httpProtocol: "HTTP/3", tlsClientRandom: "secret random" })] });
  expect(valuesOf(headers, "via")).toEqual([expect.stringMatching(/^3 ringmaster-/)]);
  expect(JSON.stringify(headers)).not.toContain("secret random");
});
