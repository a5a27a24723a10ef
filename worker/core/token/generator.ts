/** The backend that a connection id names. */
export interface NamedBackend {
  readonly serverId: number;
  /** The octet of the region it was made for, 1…255; 0 when it tells none. */
  readonly region: number;
}

/**
 * Makes and reads the part of a token that names the backend. The contract is that of quic-go's `ConnectionIDGenerator`:
 * what it generates is always equally long, and differs every time. A generator is the only one to know what is inside,
 * except for the first three bits: these hold the id of the configuration, by which the generator is found.
 */
export interface TokenGenerator {
  /** Bytes of everything it generates, 1…20. */
  readonly length: number;
  /**
   * Names a backend.
   *
   * @param serverId below `serverIdSpace` of the layout.
   * @param region the backend's label `region`; null when it has none. Not every generator tells it.
   * @param nonce as many bytes as the configuration says, of which no two calls may get the same.
   * @throws for other arguments than these.
   */
  generate(serverId: number, region: string | null, nonce: Uint8Array): Uint8Array;
  /** Reads what it generated; null for bytes that it cannot have generated. Never throws. */
  parse(bytes: Uint8Array): NamedBackend | null;
}
