import { setTimeout } from "node:timers/promises";
import { expect, inject, it } from "vitest";
import { startBackend } from "../support/backend.ts";
import { Cluster } from "../support/cluster.ts";
import { flood } from "../support/flood.ts";

/** After so many requests V8 has optimized all that ordinary ones run through. */
const HEAT = 25_000;
/** Long enough for a request to be called upon by another one, instead of attending from the beginning. */
const HEADER_TIMEOUT_MS = 2_200;
/** When the backends answer what is slow: after the deadline of a first attempt, and within that of the second. */
const ANSWER_MS = 3_000;
/** From a request that begins to look after all, to those that it finds waiting. Less, and it would look too early. */
const LEAD_MS = 300;

// What happened: an isolate ran hot, and V8 made the promises by which slow requests are called upon without the runtime's mark of
// whose they are. The retry then ran in the request that called: the runtime took the one that had called for help for hung, and
// answered 500 as soon as its first backend had spoken. Cold isolates, as all others are in tests, do not show it.
//
// quick    |- looks after all ---- calls ------- ends
// slow        |--- first backend ------------x----- 500 -- answers late
//                                            |--- second backend -----------x 504
it("retries a slow request in its own name, whoever calls upon it, in an isolate that has run hot", async () => {
  const cluster = await Cluster.start({ bundle: inject("bundle"), backends: [] });
  const backends = await Promise.all(
    ["a", "b"].map((id) =>
      startBackend(id, (request, response) => {
        const answer = (): void => void response.setHeader("x-backend", id).end(id);
        if (request.url === "/slow") globalThis.setTimeout(answer, ANSWER_MS);
        else answer();
      }),
    ),
  );
  await cluster.admin.do("PUT", "/pools/default", {
    headerTimeoutMs: HEADER_TIMEOUT_MS,
    health: { local: { connectFailures: 0, gatewayErrors: 0 } },
    backends: backends.map(({ id, url }) => ({ id, url })),
  });
  await cluster.converge();
  await flood(cluster.edge, () => ({ method: "GET" }), HEAT);
  await flood(cluster.edge, () => ({ method: "GET" }), 1);
  await setTimeout(LEAD_MS);
  const answers = await flood(cluster.edge, () => ({ method: "GET", path: "/slow" }), 8);
  expect(answers.map(({ status, text }) => (status === 504 ? status : text))).toEqual(Array(8).fill(504));
  for (const { beganMs, endedMs } of answers)
    expect(endedMs - beganMs).toBeGreaterThan(2 * HEADER_TIMEOUT_MS - 50);
  await Promise.all(backends.map((backend) => backend.stop()));
}, 60_000);
