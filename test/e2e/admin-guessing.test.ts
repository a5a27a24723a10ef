import { expect, inject, it } from "vitest";
import { AdminClient } from "../support/admin.ts";
import { Cluster } from "../support/cluster.ts";
import { OPERATOR_TOKEN } from "../support/edge.ts";

/** Asks with a token from an address, as the edge would tell it. */
type Asking = (token: string, address: string) => Promise<number>;

async function start(): Promise<Asking> {
  const { edge } = await Cluster.start({ bundle: inject("bundle"), backends: [] });
  return async (token, address) => {
    const client = new AdminClient(edge.urls[0], token);
    return (await client.send("GET", "/status", undefined, { "cf-connecting-ip": address })).status;
  };
}

const WRONG = Array.from({ length: 5 }, (_, index) => `a-wrong-token-number-${index}`);

it("looks at no token of an address from which five wrong ones came, be it right or wrong, and says when it will", async () => {
  const { edge } = await Cluster.start({ bundle: inject("bundle"), backends: [] });
  const from = { "cf-connecting-ip": "192.0.2.1" };
  for (const token of WRONG) {
    const answer = await new AdminClient(edge.urls[0], token).send("GET", "/status", undefined, from);
    expect(answer.status).toBe(401);
  }
  const answers = await Promise.all(
    ["one-more-wrong-token", OPERATOR_TOKEN].map((token) =>
      new AdminClient(edge.urls[0], token).send("GET", "/status", undefined, from),
    ),
  );
  for (const { status, headers, body } of answers) {
    expect(status).toBe(429);
    expect(Number(headers.get("retry-after"))).toBeGreaterThan(20);
    expect(Number(headers.get("retry-after"))).toBeLessThanOrEqual(30);
    expect(headers.get("content-type")).toBe("application/problem+json");
    expect(body.title).toBe("Too many wrong tokens");
  }
});

it("counts wrong tokens that are sent at once as it does others", async () => {
  const ask = await start();
  const guesses = Array.from({ length: 50 }, (_, index) => ask(`a-wrong-token-number-${index}`, "192.0.2.1"));
  const statuses = await Promise.all(guesses);
  expect(statuses.filter((status) => status === 401)).toHaveLength(5);
  expect(statuses.filter((status) => status === 429)).toHaveLength(45);
});

it("takes an IPv6 network of 64 bits for one address, and leaves every other address alone", async () => {
  const ask = await start();
  await Promise.all(WRONG.map((token, index) => ask(token, `2001:db8:0:1::${index}`)));
  expect(await ask(OPERATOR_TOKEN, "2001:db8:0:1:ffff::1")).toBe(429);
  expect(await ask(OPERATOR_TOKEN, "2001:db8:0:2::1")).toBe(200);
  expect(await ask(OPERATOR_TOKEN, "192.0.2.1")).toBe(200);
});

it("takes right tokens, and requests without one, for no guesses, and right ones take none back", async () => {
  const { edge } = await Cluster.start({ bundle: inject("bundle"), backends: [] });
  const headers = { "cf-connecting-ip": "192.0.2.1" };
  const withoutToken = async (): Promise<number> =>
    (await fetch(`${edge.urls[0]}/_ring/status`, { headers })).status;
  const as = async (token: string): Promise<number> =>
    (await new AdminClient(edge.urls[0], token).send("GET", "/status", undefined, headers)).status;
  for (const token of WRONG) {
    expect(await withoutToken()).toBe(401);
    expect(await as(OPERATOR_TOKEN)).toBe(200);
    expect(await as(token)).toBe(401);
  }
  expect(await as(OPERATOR_TOKEN)).toBe(429);
  expect(await withoutToken()).toBe(401);
});
