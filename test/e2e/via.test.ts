import { Response } from "miniflare";
import { expect, inject, it } from "vitest";
import { Cluster } from "../support/cluster.ts";

it("reaches a backend through the Fetcher binding it names, under the backend's own host", async () => {
  const cluster = await Cluster.start({
    bundle: inject("bundle"),
    backends: [],
    variables: { ALLOW_PRIVATE_BACKENDS: "false" },
    services: {
      PRIVATE: ({ url, method, headers }) =>
        new Response(JSON.stringify({ url, method, host: headers.get("host") }), {
          headers: { "x-backend": "behind the binding" },
        }),
    },
  });
  const backend = { id: "a", url: "http://10.0.0.1:8080/base", via: "PRIVATE" };
  await cluster.admin.do("PUT", "/pools/default", { backends: [backend] });
  const answer = await cluster.ask({ path: "/x?y=1", host: "shop.example" });
  expect(answer).toMatchObject({ status: 200, backend: "behind the binding" });
  expect(JSON.parse(answer.body)).toMatchObject({ url: "http://10.0.0.1:8080/base/x?y=1", method: "GET" });
  expect(JSON.parse(answer.body).host).not.toBe("shop.example");
});

it.each(["RING", "DIRECTORY", "OPERATOR_TOKENS", "toString", "NOWHERE"])(
  "refuses to reach a backend through %s, which is no Fetcher",
  async (via) => {
    const cluster = await Cluster.start({ bundle: inject("bundle"), backends: [] });
    const backend = { id: "a", url: "http://10.0.0.1", via };
    const { status, body } = await cluster.admin.send("PUT", "/pools/default", { backends: [backend] });
    expect([status, body.errors[0].field]).toEqual([422, "backends.0.via"]);
  },
);

// What happened: each patch was checked against the other half as it was, and both were carried out.
it("lets no two patches at once make an address of a backend that plain fetch must not ask", async () => {
  const cluster = await Cluster.start({
    bundle: inject("bundle"),
    backends: [],
    variables: { ALLOW_PRIVATE_BACKENDS: "false" },
    services: { PRIVATE: () => new Response("behind the binding") },
  });
  const path = "/pools/default/backends/a";
  await cluster.admin.do("PUT", "/pools/default", {});
  for (let round = 0; round < 20; round++) {
    await cluster.admin.do("PUT", path, { url: "http://public.example", via: "PRIVATE" });
    const answers = await Promise.all([
      cluster.admin.send("PATCH", path, { url: "http://10.0.0.1" }),
      cluster.admin.send("PATCH", path, { via: null }),
    ]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 422]);
    const { body } = await cluster.admin.do("GET", path);
    expect(body.via === null && body.url === "http://10.0.0.1").toBe(false);
  }
});
