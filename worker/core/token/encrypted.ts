import { decodeServerId, encodeServerId } from "../../../durable/model/server-id.ts";
import type { TokenConfig } from "../../../durable/model/snapshot.ts";
import { AesBlock } from "./aes-block.ts";
import type { NamedBackend, TokenGenerator } from "./generator.ts";
import { QuicLbCodec } from "./quic-lb.ts";

/** QUIC-LB with a key: nobody else can tell which backend a token names, or whether two name the same. */
export class Encrypted implements TokenGenerator {
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
    const serverId = octets === null ? null : decodeServerId(this.#config, octets);
    return serverId === null ? null : { serverId, region: 0 };
  }
}
