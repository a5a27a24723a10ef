import type { BackendInput, BackendPatch } from "./backend.ts";
import type { PinInput } from "./health.ts";
import type { BackendId, PoolName, RouteId } from "./names.ts";
import type { PoolDocument, PoolPatch } from "./pool.ts";
import type { Labelled } from "./receipt.ts";
import type { Route, RouteInput, RoutePatch } from "./route.ts";

/** A command that is refused where nobody would be left to take new traffic. */
interface Forcible {
  /** Not even then. Default false. */
  readonly force?: boolean | undefined;
}

/** A change an operator asks of one pool. */
export type PoolCommand =
  | { readonly kind: "put-pool"; readonly document: PoolDocument }
  | { readonly kind: "patch-pool"; readonly patch: PoolPatch }
  | { readonly kind: "delete-pool" }
  /** Begins a key rotation. */
  | { readonly kind: "rotate-keys" }
  | { readonly kind: "put-backend"; readonly id: BackendId; readonly backend: BackendInput }
  | { readonly kind: "patch-backend"; readonly id: BackendId; readonly patch: BackendPatch }
  | ({ readonly kind: "remove-backend"; readonly id: BackendId } & Forcible)
  /** `forMs` null: the pool's `drainMs`. */
  | ({ readonly kind: "drain-backend"; readonly id: BackendId; readonly forMs: number | null } & Forcible)
  /** Drains all active backends that have the label, in one version. */
  | ({ readonly kind: "drain-labelled"; readonly forMs: number | null } & Labelled & Forcible)
  /** Takes that back, of whichever of them are draining. */
  | ({ readonly kind: "undrain-labelled" } & Labelled)
  | { readonly kind: "undrain-backend"; readonly id: BackendId }
  | ({ readonly kind: "disable-backend"; readonly id: BackendId } & Forcible)
  | { readonly kind: "enable-backend"; readonly id: BackendId }
  | { readonly kind: "pin-backend"; readonly id: BackendId; readonly pin: PinInput }
  | { readonly kind: "unpin-backend"; readonly id: BackendId };

/** A change an operator asks of the directory. */
export type DirectoryCommand =
  | { readonly kind: "put-route"; readonly id: RouteId; readonly route: RouteInput }
  | { readonly kind: "patch-route"; readonly id: RouteId; readonly patch: RoutePatch }
  | { readonly kind: "remove-route"; readonly id: RouteId }
  /** Lists these pools too, and makes the routes exactly these. */
  | { readonly kind: "put-routes"; readonly routes: readonly Route[]; readonly pools: readonly PoolName[] }
  | { readonly kind: "add-pool"; readonly name: PoolName }
  | { readonly kind: "remove-pool"; readonly name: PoolName };

/** Under which condition a change is made: RFC 9110 §13.1. */
export interface Precondition {
  /** Versions of which the present one must be one (`If-Match`); null: any. */
  readonly ifMatch: readonly number[] | "*" | null;
  /** True: only if the target does not exist yet (`If-None-Match: *`). */
  readonly ifAbsent: boolean;
}

/** One field that a command changed, by its path in the document. */
export interface Change {
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** What a command did: the version that now holds, and the differences; none when everything was so already. */
export interface Applied {
  readonly version: number;
  /** The target did not exist before. */
  readonly created: boolean;
  readonly changes: readonly Change[];
}

/** Who asks for a change. */
export interface Author {
  /** `operator alice`, or `operator 1a2b3c4d` for a token without a name: it begins the token's SHA-256. */
  readonly operator: string;
  /** What they gave for a reason; null: nothing. */
  readonly reason: string | null;
}

/** A change for one pool, as the admin API sends it to the ring. */
export interface PoolChange {
  readonly pool: PoolName;
  readonly command: PoolCommand;
  readonly precondition: Precondition;
  readonly author: Author;
}

/** A change for the directory. */
export interface DirectoryChange {
  readonly command: DirectoryCommand;
  readonly precondition: Precondition;
  readonly author: Author;
}
