import { decodeServerId, encodeServerId } from "../../../durable/model/server-id.ts";
import type { TokenConfig } from "../../../durable/model/snapshot.ts";
import type { NamedBackend, TokenGenerator } from "./generator.ts";
import { QuicLbCodec } from "./quic-lb.ts";

/** QUIC-LB without a key: whoever sees a token can read which backend it names. */
export class Plaintext implements TokenGenerator {
  readonly length: number;
  readonly #config: TokenConfig;
  readonly #codec: QuicLbCodec;

  constructor(config: TokenConfig) {
    this.#config = config;
    this.#codec = new QuicLbCodec({ ...config, configId: config.id }, null);
    this.length = this.#codec.length;
  }

  generate(serverId: number, region: string | null, nonce: Uint8Array): Uint8Array {
    return this.#codec.encode(encodeServerId(this.#config, serverId, region), nonce);
  }

  parse(bytes: Uint8Array): NamedBackend | null {
    const octets = this.#codec.decodeOwn(bytes);
    const serverId = octets === null ? null : decodeServerId(this.#config, octets);
    return serverId === null ? null : { serverId, region: 0 };
  }
}
