import type { BackendId } from "../../durable/model/names.ts";
import type { SessionFate } from "../../durable/model/outcome.ts";
import type { Affinity, PolicyName } from "../../durable/model/pool.ts";
import type { SnapshotBackend } from "../../durable/model/snapshot.ts";
import type { EpochMs } from "../../durable/model/time.ts";
import type { Credentials } from "./affinity.ts";
import type { Notes } from "./notes.ts";
import type { SubChannel } from "./sub-channel.ts";
import type { WantedSubset } from "./subset.ts";

/** What a request brings to the choice of its backend. */
export interface Choosing {
  /** The route's word, else the pool's. */
  readonly policy: PolicyName;
  readonly affinity: Affinity;
  /** Restricts who may be chosen; null: nothing does. */
  readonly subset: WantedSubset | null;
  readonly credentials: Credentials;
  readonly nowMs: EpochMs;
  /** A random number, 0 ≤ chance < 1. */
  readonly chance: number;
  /** Where the request has failed before. */
  readonly tried: ReadonlySet<BackendId>;
  /** It has asked before, and waits because nobody had room. */
  readonly hasWaited: boolean;
  /** Takes down what the choice looks at; undefined: nobody asks, which is nearly always. */
  readonly notes?: Notes | undefined;
}

/** The token that a client is to get with its answer. */
export interface Grant {
  /** The backend that it names. */
  readonly backend: Pick<SnapshotBackend, "serverId" | "region">;
  /** 16 hexadecimal digits; null: a new session. */
  readonly sessionId: string | null;
  /** When the session came to its backend. */
  readonly startedMs: EpochMs;
}

/** What the backend is told that takes over another's session. */
export interface Inheritance {
  readonly sessionId: string;
  readonly previous: BackendId;
}

/** A backend, already counted as in flight there, and what becomes of the session. */
export interface Chosen {
  readonly kind: "backend";
  readonly channel: SubChannel;
  /** Of the session whose token the request carries; null when it carries none. */
  readonly fate: SessionFate | null;
  readonly grant: Grant | null;
  readonly inheritance: Inheritance | null;
  /** The connection came from elsewhere before. */
  readonly hasMigrated: boolean;
  /** It failed lately, and only for want of a better one it was not skipped. */
  readonly isDesperate: boolean;
}

/**
 * Where a request goes. `no_backend`: none admits it. `session_refused`: its session's backend is lost, and the pool would
 * rather refuse it than move it. `full`: whoever would take it has as much in flight as it may. `shed`: the pool turns a
 * part of its traffic away.
 */
export type Choice = Chosen | { readonly kind: "no_backend" | "session_refused" | "full" | "shed" };
