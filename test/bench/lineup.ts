import { type StaticBackend, startBackends } from "./backends.ts";
import { startBare } from "./bare.ts";
import type { Options, VariantName } from "./options.ts";
import type { Processes } from "./processes.ts";
import { startRingmaster } from "./ringmaster.ts";
import type { RunningWorker, Serving } from "./workerd.ts";

/** The workers that are compared, each in a process of its own, in front of the same backends. */
export interface Lineup {
  readonly floor: RunningWorker;
  readonly variants: ReadonlyMap<VariantName, RunningWorker>;
}

/**
 * Starts the backends and every worker asked for.
 *
 * @param source Ringmaster, built.
 */
export async function startLineup(
  processes: Processes,
  serving: Serving,
  source: string,
  { sizes, only }: Options,
): Promise<Lineup> {
  const backends = await startBackends(processes, serving.folder, sizes);
  const floor = await startBare(processes, serving, "floor", backends);
  const variants = new Map<VariantName, RunningWorker>();
  for (const name of only)
    variants.set(name, await startVariant(processes, serving, { name, source, backends }));
  return { floor, variants };
}

function startVariant(
  processes: Processes,
  serving: Serving,
  setup: {
    readonly name: VariantName;
    readonly source: string;
    readonly backends: readonly [StaticBackend, ...StaticBackend[]];
  },
): Promise<RunningWorker> {
  switch (setup.name) {
    case "round-robin":
      return startRingmaster(processes, serving, { ...setup, affinity: [] });
    case "sticky":
      return startRingmaster(processes, serving, { ...setup, affinity: [{ by: "connection" }] });
    case "control":
      return startBare(processes, serving, setup.name, setup.backends);
  }
}
