import { healthOf, isStopping } from "./health.ts";
import type { HeldBackend, RingState } from "./ring-state.ts";
import type { ConfigPhase } from "./token-configs.ts";

/**
 * What the history of a pool tells beside its document: pins, who is not healthy, who asked for no new sessions, whose drain
 * is over, and how far token configurations are. No key is in it.
 */
export function tell(ring: RingState): object {
  if (ring.kind === "absent") return {};
  const { backends, tokens } = ring;
  const inPhase = (kind: ConfigPhase["kind"]): readonly number[] =>
    tokens.configs.filter(({ phase }) => phase.kind === kind).map(({ id }) => id);
  const [spreading, writing] = [inPhase("spreading"), inPhase("writing")];
  return {
    pins: byId(backends, ({ pin }) => pin),
    health: byId(backends, (backend) => (healthOf(backend) === "healthy" ? null : healthOf(backend))),
    stopping: byId(backends, (backend) => (isStopping(backend) ? true : null)),
    drained: byId(backends, ({ isDrained }) => (isDrained ? true : null)),
    tokens: { spreading: spreading[0] ?? null, writing: writing[0] ?? null, retired: inPhase("retired") },
  };
}

/** What there is to say of backends, by their ids; null: nothing. */
function byId(backends: readonly HeldBackend[], say: (backend: HeldBackend) => unknown): object {
  return Object.fromEntries(
    backends.flatMap((backend) => {
      const said = say(backend);
      return said === null ? [] : [[backend.id, said]];
    }),
  );
}
