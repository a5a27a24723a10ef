import type { BackendId } from "../../durable/model/names.ts";
import type { Snapshot } from "../../durable/model/snapshot.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";
import type { LostRule, Sessions as SessionsConfig } from "../../durable/model/token.ts";
import { Carriers } from "./carriers.ts";
import type { Grant } from "./choice.ts";
import { Keyring, OpenedToken } from "./token/keyring.ts";

/** A token is renewed when less than this share of its life is left, so a client in use keeps its session. */
const RENEWAL_SHARE = 0.5;

/** Random bytes it takes to write a token: a nonce of at most 18, and 8 for the id of a new session. */
export const TOKEN_RANDOM_BYTES = 26;
const SESSION_ID_BYTES = 8;

/** What a request carries in the way of tokens. */
export type Carried =
  | { readonly kind: "opened"; readonly token: OpenedToken }
  | { readonly kind: "invalid" | "expired" | "unknown"; readonly text: string };

/** Why a session's backend takes it no more. */
export type LossCause = keyof SessionsConfig["lost"];

/** The sessions of one pool, as tokens carry them. Made anew with every snapshot. */
export class Sessions {
  readonly carriers: Carriers;
  readonly #keyring: Keyring;
  readonly #keys: string;
  readonly #config: SessionsConfig;
  readonly #lifetimeMs: number;
  readonly #removed: ReadonlyMap<number, BackendId>;

  /** What `previous` has read is remembered while the keys stay the same. */
  constructor({ pool, tokens, config }: Snapshot, previous: Sessions | null) {
    const { writeId, configs, removed } = tokens;
    this.#keys = JSON.stringify([pool, writeId, configs]);
    this.#keyring =
      previous !== null && previous.#keys === this.#keys ? previous.#keyring : new Keyring(pool, tokens);
    this.carriers = new Carriers(pool, config.tokens);
    this.#config = config.sessions;
    this.#lifetimeMs = config.tokens.lifetimeMs;
    this.#removed = new Map(removed.map(({ serverId, id }) => [serverId, id]));
  }

  /** The best of the tokens that a request carries; null when there is none. */
  read(headers: { get(name: string): string | null }, nowMs: EpochMs): Carried | null {
    let best: Carried | null = null;
    for (const text of this.carriers.read(headers)) {
      const reading = this.#keyring.read(text, nowMs);
      if (reading instanceof OpenedToken) return { kind: "opened", token: reading };
      // One of unknown keys may be readable elsewhere, so it must not be replaced for another's sake.
      if (best === null || reading === "unknown") best = { kind: reading, text };
    }
    return best;
  }

  /** Whether a session has been with its backend for as long, or for as many requests, as the pool lets it. */
  isPlacedAnew({ startedMs, requests }: OpenedToken, nowMs: EpochMs): boolean {
    const { maxAgeMs, maxRequests } = this.#config;
    return (
      (maxAgeMs !== null && nowMs - startedMs > maxAgeMs) || (maxRequests !== null && requests > maxRequests)
    );
  }

  /** The token that takes the place of one nearing its end, for the backend it names; null while it has time. */
  renewal(token: OpenedToken, backend: Grant["backend"], nowMs: EpochMs): Grant | null {
    const { sessionId, startedMs, expiresMs } = token;
    return expiresMs - nowMs < RENEWAL_SHARE * this.#lifetimeMs ? { backend, sessionId, startedMs } : null;
  }

  /** What to do with a session whose backend is lost. */
  ruleFor(cause: LossCause): LostRule {
    return this.#config.lost[cause];
  }

  /** The name of a backend that was removed while tokens that name it may be alive; null for any other server id. */
  removedBackend(serverId: number): BackendId | null {
    return this.#removed.get(serverId) ?? null;
  }

  /** The response headers that give a client its token. `random`: at least `TOKEN_RANDOM_BYTES` fresh random bytes. */
  write(
    grant: Grant,
    nowMs: EpochMs,
    random: Uint8Array,
  ): readonly (readonly [name: string, value: string])[] {
    const { startedMs } = grant;
    const { serverId, region } = grant.backend;
    const sessionId = sessionIdOf(grant, random);
    const content = { serverId, region, sessionId, startedMs, expiresMs: after(nowMs, this.#lifetimeMs) };
    return this.carriers.write(this.#keyring.issue(content, random.subarray(SESSION_ID_BYTES)));
  }
}

/** The id of the session that a grant is for: a new one has the first of the random bytes. */
export function sessionIdOf({ sessionId }: Grant, random: Uint8Array): string {
  return sessionId ?? hex(random.subarray(0, SESSION_ID_BYTES));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
