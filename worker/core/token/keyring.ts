import type { PoolName } from "../../../durable/model/names.ts";
import type { Mark } from "../../../durable/model/sketch.ts";
import type { SnapshotTokens, TokenConfig } from "../../../durable/model/snapshot.ts";
import { type EpochMs, epochMs } from "../../../durable/model/time.ts";
import { decodeBase64url, encodeBase64url } from "../base64url.ts";
import type { Connection } from "../identify.ts";
import { createGenerator } from "./by-name.ts";
import { type Claims, ENVELOPE_BYTES, Envelope } from "./envelope.ts";
import type { NamedBackend, TokenGenerator } from "./generator.ts";
import { configIdOf } from "./quic-lb.ts";
import { Recent } from "./recent.ts";

/** The longest connection id there is (RFC 9000 §17.2), and so the longest token. */
const MAX_CID_BYTES = 20;
const MAX_CHARACTERS = Math.ceil(((MAX_CID_BYTES + ENVELOPE_BYTES) * 4) / 3);

/** Tokens remembered per pool and isolate: some 4 MB when all are in use. */
const CACHE_ENTRIES = 10_000;

/** A token that was read: what it says, kept while it is in use. */
export class OpenedToken {
  readonly configId: number;
  readonly serverId: number;
  /** Octet of the region it was made for, 1…255; 0 when it tells none. */
  readonly region: number;
  /** 16 hexadecimal digits. */
  readonly sessionId: string;
  readonly startedMs: EpochMs;
  readonly expiresMs: EpochMs;
  /** Requests that came with it to this isolate, as far as it remembers; counted by the caller. */
  requests = 0;
  /** The connection it came in by last; set by the caller. */
  connection: Connection | null = null;
  /** Of its session, in sketches; set by the caller. */
  mark: Mark | null = null;

  constructor(configId: number, { serverId, region }: NamedBackend, claims: Claims) {
    this.configId = configId;
    this.serverId = serverId;
    this.region = region;
    this.sessionId = claims.sessionId;
    this.startedMs = epochMs(claims.startedS * 1_000);
    this.expiresMs = epochMs(claims.expiresS * 1_000);
  }
}

/**
 * What becomes of a text that should be a token. `invalid`: altered, or not ours. `expired`: it was good once. `unknown`:
 * made under a configuration that is not held here, or under the unroutable codepoint, and not expired by what it says.
 */
export type TokenReading = OpenedToken | "invalid" | "expired" | "unknown";

/** What a new token is to say. Its times are kept in whole seconds, rounded down. */
export interface TokenContent {
  readonly serverId: number;
  /** The backend's label `region`; null when it has none. */
  readonly region: string | null;
  /** 16 hexadecimal digits. */
  readonly sessionId: string;
  readonly startedMs: EpochMs;
  readonly expiresMs: EpochMs;
}

/** One configuration, ready for use. */
interface Key {
  readonly generator: TokenGenerator;
  readonly envelope: Envelope;
}

/** Reads and issues the tokens of one pool. Remembers what it read, so keep it for as long as `tokens` do not change. */
export class Keyring {
  /** The configuration that tokens are issued under. */
  readonly writeId: number;
  /** Random bytes that issuing takes. */
  readonly nonceBytes: number;
  readonly #keys: ReadonlyMap<number, Key>;
  readonly #writing: Key;
  readonly #recent: Recent<OpenedToken>;

  /** @param cacheEntries good tokens remembered, those least recently used forgotten first. Default 10 000. */
  constructor(pool: PoolName, tokens: SnapshotTokens, cacheEntries = CACHE_ENTRIES) {
    this.#keys = new Map(tokens.configs.map((config) => [config.id, createKey(pool, config)]));
    this.#recent = new Recent(cacheEntries);
    const writing = this.#keys.get(tokens.writeId);
    const config = tokens.configs.find(({ id }) => id === tokens.writeId);
    if (writing === undefined || config === undefined)
      throw new Error(`writeId ${tokens.writeId} of pool ${pool} must be one of its configurations`);
    this.writeId = tokens.writeId;
    this.nonceBytes = config.nonceBytes;
    this.#writing = writing;
  }

  /** Reads a token. Takes any text; the work is bounded, and does not depend on what is wrong. */
  read(text: string, nowMs: EpochMs): TokenReading {
    if (text.length > MAX_CHARACTERS) return "invalid";
    const remembered = this.#recent.find(text);
    if (remembered === undefined) return this.#open(text, nowMs);
    if (nowMs < remembered.expiresMs) return remembered;
    this.#recent.forget(text);
    return "expired";
  }

  /**
   * The text of a new token, under `writeId`.
   *
   * @param random at least `nonceBytes` fresh random bytes; the first are used.
   */
  issue({ serverId, region, sessionId, startedMs, expiresMs }: TokenContent, random: Uint8Array): string {
    const { generator, envelope } = this.#writing;
    const cid = generator.generate(serverId, region, random.subarray(0, this.nonceBytes));
    const claims = {
      expiresS: Math.floor(expiresMs / 1_000),
      startedS: Math.floor(startedMs / 1_000),
      sessionId,
    };
    return encodeBase64url(envelope.seal(cid, claims));
  }

  #open(text: string, nowMs: EpochMs): TokenReading {
    const bytes = decodeBase64url(text);
    if (bytes === null || bytes.length <= ENVELOPE_BYTES) return "invalid";
    const configId = configIdOf(bytes[0] ?? 0);
    const key = this.#keys.get(configId);
    // Its MAC cannot be checked, but who lengthens the life of a token we cannot read gains nothing by it.
    if (key === undefined) return nowMs < claimedExpiryMs(bytes) ? "unknown" : "expired";
    const claims = key.envelope.open(bytes);
    if (claims === null) return "invalid";
    const backend = key.generator.parse(bytes.subarray(0, key.generator.length));
    if (backend === null) return "invalid";
    const opened = new OpenedToken(configId, backend, claims);
    if (nowMs >= opened.expiresMs) return "expired";
    // Not `text` itself: it may be a piece of a long header, which V8 would keep whole for as long as the piece.
    this.#recent.add(encodeBase64url(bytes), opened);
    return opened;
  }
}

function createKey(pool: PoolName, config: TokenConfig): Key {
  const generator = createGenerator(config);
  return { generator, envelope: new Envelope(pool, config, generator.length) };
}

/** When a token of any configuration says that it expires; the envelope is equally long in all of them. */
function claimedExpiryMs(bytes: Uint8Array): EpochMs {
  const expiryAt = bytes.length - ENVELOPE_BYTES;
  return epochMs(1_000 * new DataView(bytes.buffer, bytes.byteOffset + expiryAt).getUint32(0));
}
