/**
 * Token configurations as a load balancer or a server of QUIC reads them: the YANG module `ietf-quic-lb-middlebox` of
 * draft-ietf-quic-load-balancers-21 in JSON (RFC 7951). Holds keys in clear, so it is for the operator alone.
 */
export interface QuicLbExport {
  readonly "ietf-quic-lb-middlebox:quic-lb": {
    readonly "cid-configs": readonly QuicLbConfig[];
  };
}

/** One configuration that tokens may be read under. */
export interface QuicLbConfig {
  /** 0…6. The module still says 0…2, from before the draft gave it a third bit; its text and the server's module say 6. */
  readonly "config-rotation-bits": number;
  /** From the module of servers, which need to know it too. The five bits hold the length of what follows them. */
  readonly "first-octet-encodes-cid-length": true;
  /** 1…15. */
  readonly "server-id-length": number;
  /** 4…18. */
  readonly "nonce-length": number;
  /** 16 octets as `8f:95:…`; absent: plaintext. */
  readonly "cid-key"?: string;
  readonly "server-id-mappings": readonly QuicLbMapping[];
}

/** Which server an id leads to. */
export interface QuicLbMapping {
  /** As many octets as `server-id-length` says, as `00:00:00:07`. */
  readonly "server-id": string;
  /** Where the backend is. The module wants an IP address; a backend that is known by name keeps its name. */
  readonly "server-address": string;
}
