import { decodeServerId, encodeServerId } from "../../../durable/model/server-id.ts";
import type { TokenConfig } from "../../../durable/model/snapshot.ts";
import { AesBlock } from "./aes-block.ts";
import type { NamedBackend, TokenGenerator } from "./generator.ts";
import { QuicLbCodec } from "./quic-lb.ts";

/**
 * QUIC-LB with a key, and server ids that begin with the octet of the backend's region: a load balancer that does not know
 * the backend, as it may be new or gone, still knows where to go.
 */
export class Regional implements TokenGenerator {
  readonly length: number;
  readonly #config: TokenConfig;
  readonly #codec: QuicLbCodec;

  constructor(config: TokenConfig) {
    this.#config = config;
    this.#codec = new QuicLbCodec({ ...config, configId: config.id }, new AesBlock(config.key));
    this.length = this.#codec.length;
  }

  generate(serverId: number, region: string | null, nonce: Uint8Array): Uint8Array {
    return this.#codec.encode(encodeServerId(this.#config, serverId, region), nonce);
  }

  parse(bytes: Uint8Array): NamedBackend | null {
    const octets = this.#codec.decodeOwn(bytes);
    if (octets === null) return null;
    const serverId = decodeServerId(this.#config, octets);
    return serverId === null ? null : { serverId, region: octets[0] ?? 0 };
  }
}
