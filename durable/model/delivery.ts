import type { HealthEvent } from "./event.ts";
import type { PoolName } from "./names.ts";
import type { EpochMs } from "./time.ts";

/** What a webhook is sent. */
export interface HealthMessage {
  readonly pool: PoolName;
  readonly event: HealthEvent;
  /** Events of this backend right before this one that were not told, because there were too many within a minute. */
  readonly suppressed: number;
}

/** An event on its way to a webhook. */
export interface Delivery {
  readonly url: string;
  readonly message: HealthMessage;
  /** With the event's id, what the receiver may know repetitions by. */
  readonly incarnation: string;
  /** Attempts that were begun. */
  readonly attempts: number;
  /** From when on it could be sent: that of its event, or later where its backend had too many. */
  readonly sinceMs: EpochMs;
  /** Not to be attempted before. */
  readonly nextMs: EpochMs;
}

/** What became of an attempt. `dropped`: it is not tried again. `failed`: it is. `reason`: for people. */
export type DeliveryResult =
  | { readonly kind: "delivered" }
  | { readonly kind: "dropped" | "failed"; readonly reason: string };

/** How a webhook fares. Counts begin anew when the object is restarted. */
export interface WebhookStatus {
  readonly url: string;
  /** Whether the secret that signs is there. Without it nothing is sent, and what would have been is dropped. */
  readonly isSecretSet: boolean;
  readonly waiting: number;
  readonly delivered: number;
  /** Told to nobody: given up, refused for good, without secret, or too many waiting. */
  readonly dropped: number;
  /** Why the last attempt was in vain; null: it was not. */
  readonly lastFailure: string | null;
}
