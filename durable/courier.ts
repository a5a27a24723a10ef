import { now } from "./io/clock.ts";
import type { EventLog } from "./io/event-log.ts";
import { callWebhook } from "./io/webhooks.ts";
import type { Delivery, DeliveryResult, WebhookStatus } from "./model/delivery.ts";
import type { HealthEvent } from "./model/event.ts";
import type { Webhook } from "./model/health-check.ts";
import { after, type EpochMs, later } from "./model/time.ts";
import {
  ATTEMPT_MS,
  beginAttempt,
  endAttempt,
  enqueue,
  judgeAnswer,
  keepWebhooks,
  nextDelivery,
  nextDeliveryMs,
  type Outbox,
  restoreOutbox,
  tallyOf,
} from "./state/outbox.ts";
import type { RingState } from "./state/ring-state.ts";

/** Attempts in one go. An invocation may make only so many requests, and the next alarm goes on. */
const ATTEMPTS_PER_ALARM = 20;

/** How long nothing is attempted after storage has failed, milliseconds. */
const REST_MS = 60_000;

/** Brings events to webhooks, one at a time, beside everything else: nothing ever waits for it. */
export class Courier {
  readonly #log: EventLog;
  readonly #environment: Readonly<Record<string, unknown>>;
  readonly #onIdle: () => Promise<void>;
  #outbox: Outbox;
  #webhooks: readonly Webhook[] = [];
  #isBusy = false;
  /** Waking earlier would be of no use: an attempt is being made, or storage has failed. */
  #notBeforeMs: EpochMs | null = null;

  /** `onIdle`: called when it has stopped, and `nextMs` may be another. */
  constructor(log: EventLog, environment: Readonly<Record<string, unknown>>, onIdle: () => Promise<void>) {
    this.#log = log;
    this.#environment = environment;
    this.#onIdle = onIdle;
    this.#outbox = restoreOutbox(log.readOutbox());
  }

  /** When it next has something to do; null: never. */
  get nextMs(): EpochMs | null {
    const nextMs = nextDeliveryMs(this.#outbox);
    return nextMs === null || this.#notBeforeMs === null ? nextMs : later(nextMs, this.#notBeforeMs);
  }

  /** When `setOut` will do something; null: never, or not before it is idle. */
  get setsOutMs(): EpochMs | null {
    return this.#isBusy ? null : this.nextMs;
  }

  /** The outbox as it will be once a pool is so and these events have happened. */
  plan(ring: RingState, events: readonly HealthEvent[]): Outbox {
    const urls = webhooksOf(ring).map(({ url }) => url);
    const kept = keepWebhooks(this.#outbox, urls);
    if (ring.kind === "absent") return kept;
    const { pool, incarnation } = ring;
    return enqueue(kept, events, { pool, incarnation, urls }, now());
  }

  /** Writes an outbox that was planned; to be called within the transaction that writes its pool. */
  write(planned: Outbox): void {
    this.#log.writeOutbox(this.#outbox.deliveries, planned.deliveries);
  }

  /** Goes on with an outbox that has been written. */
  adopt(ring: RingState, outbox: Outbox = this.#outbox): void {
    this.#webhooks = webhooksOf(ring);
    this.#outbox = outbox;
  }

  /** How each webhook of the pool fares. */
  status(): readonly WebhookStatus[] {
    return this.#webhooks.map(({ url, secret }) => ({
      url,
      isSecretSet: this.#keyOf(secret) !== null,
      ...tallyOf(this.#outbox, url),
    }));
  }

  /** Sets out, if there is something due and it is not under way. */
  setOut(): void {
    const { nextMs } = this;
    if (this.#isBusy || nextMs === null || nextMs > now()) return;
    this.#isBusy = true;
    // An object stays in memory while a request of its own is open, so nobody needs to hold this.
    void this.#deliver();
  }

  async #deliver(): Promise<void> {
    try {
      await this.#attemptAll();
      this.#notBeforeMs = null;
    } catch (error) {
      console.error(error);
      this.#notBeforeMs = after(now(), REST_MS);
    } finally {
      this.#isBusy = false;
    }
    try {
      await this.#onIdle();
    } catch (error) {
      // Any call of the object looks at what is due too.
      console.error(error);
    }
  }

  async #attemptAll(): Promise<void> {
    for (let attempts = 0; attempts < ATTEMPTS_PER_ALARM; attempts++) {
      const nowMs = now();
      const delivery = nextDelivery(this.#outbox, nowMs);
      if (delivery === null) return;
      this.#notBeforeMs = after(nowMs, ATTEMPT_MS + 1_000);
      this.#save(beginAttempt(this.#outbox, delivery, nowMs, Math.random()));
      const result = await this.#attempt(delivery);
      if (result.kind === "dropped") logDropped(delivery, result.reason);
      this.#save(endAttempt(this.#outbox, delivery, result, now(), Math.random()));
    }
  }

  async #attempt({ url, message, incarnation }: Delivery): Promise<DeliveryResult> {
    const secret = this.#webhooks.find((webhook) => webhook.url === url)?.secret;
    const key = secret === undefined ? null : this.#keyOf(secret);
    if (key === null) return { kind: "dropped", reason: `there is no secret ${secret ?? ""}` };
    const call = { url, key, message, incarnation, nowMs: now(), timeoutMs: ATTEMPT_MS };
    const answer = await callWebhook(call);
    return answer.kind === "answered"
      ? judgeAnswer(answer.status)
      : { kind: "failed", reason: answer.reason };
  }

  /** The key that a secret holds; null: it is not set. */
  #keyOf(secret: string): string | null {
    const key = Object.hasOwn(this.#environment, secret) ? this.#environment[secret] : undefined;
    return typeof key === "string" && key !== "" ? key : null;
  }

  /** Writes first; memory follows only when that succeeded. */
  #save(outbox: Outbox): void {
    this.write(outbox);
    this.#outbox = outbox;
  }
}

/** Of the URL only the host: the rest may be what keeps others from calling it. */
function logDropped({ url, message: { pool, event } }: Delivery, reason: string): void {
  console.error(`event ${event.id} of pool ${pool} is not told to ${new URL(url).host}: ${reason}`);
}

function webhooksOf(ring: RingState): readonly Webhook[] {
  return ring.kind === "live" ? ring.config.health.webhooks : [];
}
