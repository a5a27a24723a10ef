import type { StaticBackend } from "./backends.ts";
import type { Processes } from "./processes.ts";
import { type RunningWorker, type Serving, serveWorker } from "./workerd.ts";

/** The floor: the least that still passes a request on. */
const BARE_WORKER = `export default {
  fetch(request, env) {
    return fetch(env.BACKEND + request.url.slice(request.url.indexOf("/", 8)), request);
  },
};
`;

/** Serves the floor in front of the first backend. */
export function startBare(
  processes: Processes,
  serving: Serving,
  name: string,
  [backend]: readonly [StaticBackend, ...StaticBackend[]],
): Promise<RunningWorker> {
  return serveWorker(processes, serving, {
    name,
    source: BARE_WORKER,
    variables: { BACKEND: backend.url },
    objects: {},
  });
}
