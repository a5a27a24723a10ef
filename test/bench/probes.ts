import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { PoolStatus } from "../../durable/model/view.ts";
import { AdminClient } from "../support/admin.ts";
import { buildBundle } from "../support/bundle.ts";
import { startEdge } from "../support/edge.ts";
import { median } from "./stats.ts";
import type { Teardown } from "./teardown.ts";

const BACKENDS = 300;
/** Every so many hangs: 2 %. */
const HANGS_EVERY = 50;
const LATENCY_MS = 100;
const INTERVAL_MS = 10_000;
const TIMEOUT_MS = 2_000;

/** Until every verdict has been found; then so many intervals are measured. */
const SETTLING_MS = 15_000;
const INTERVALS = 4;

/** A backend that is probed, and when it was. */
interface Probed {
  readonly id: string;
  readonly url: string;
  readonly timesMs: number[];
}

/** Probes a large pool, some of which hangs, and prints how often each backend was probed. */
export async function benchProbes(teardown: Teardown): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-probes-"));
  teardown.defer(() => rm(folder, { recursive: true }));
  // Whatever else makes temporary files makes them in there.
  process.env["TMPDIR"] = folder;
  const edge = await startEdge({ bundle: await buildBundle() });
  teardown.defer(() => edge.stop());
  const backends = await Promise.all(Array.from({ length: BACKENDS }, (_, index) => start(index, teardown)));
  const admin = new AdminClient(edge.urls[0]);
  const probe = { kind: "http", intervalMs: INTERVAL_MS, timeoutMs: TIMEOUT_MS };
  await admin.do("PUT", "/pools/probed", {
    health: { probe },
    backends: backends.map(({ id, url }) => ({ id, url })),
  });
  await sleep(SETTLING_MS);
  for (const { timesMs } of backends) timesMs.splice(0);
  await sleep(INTERVALS * INTERVAL_MS);
  const { body } = await admin.do("GET", "/pools/probed/status");
  print(backends, body as PoolStatus);
}

/** On a port of its own; every probe is a connection of its own too, as a hanging one is closed. */
async function start(index: number, teardown: Teardown): Promise<Probed> {
  const timesMs: number[] = [];
  const server = createServer((_, response) => {
    timesMs.push(performance.now());
    if (index % HANGS_EVERY !== 0) setTimeout(() => response.end("ok"), LATENCY_MS);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  teardown.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { id: `b-${index}`, url: `http://127.0.0.1:${port}`, timesMs };
}

function print(backends: readonly Probed[], { probes, backends: held }: PoolStatus): void {
  const gaps = backends.map(({ timesMs }) =>
    timesMs.slice(1).map((atMs, index) => atMs - (timesMs[index] ?? atMs)),
  );
  const medians = gaps.map(median);
  const longest = gaps.map((each) => Math.max(...each));
  const verdicts = Map.groupBy(held, ({ observed }) => observed.probe.verdict);
  console.log(
    [
      "",
      `Probes of ${BACKENDS} backends, ${LATENCY_MS} ms each, every ${HANGS_EVERY}th hanging until ${seconds(TIMEOUT_MS)} s:`,
      `  healthy ${verdicts.get("healthy")?.length ?? 0}, unhealthy ${verdicts.get("unhealthy")?.length ?? 0}`,
      `  interval configured ${seconds(INTERVAL_MS)} s, held as the ring says ${seconds(probes?.heldIntervalMs ?? 0)} s`,
      `  a backend's median interval: median ${seconds(median(medians))} s, max ${seconds(Math.max(...medians))} s`,
      `  a backend's longest interval: median ${seconds(median(longest))} s, max ${seconds(Math.max(...longest))} s`,
      `  probes of a backend in ${seconds(INTERVALS * INTERVAL_MS)} s: ${Math.min(...gaps.map(({ length }) => length + 1))} at least`,
    ].join("\n"),
  );
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(2);
}
