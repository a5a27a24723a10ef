import { createHash } from "node:crypto";
import * as fc from "fast-check";
import type { SnapshotTokens, TokenConfig } from "../../../durable/model/snapshot.ts";

/** A configuration: id 2, encrypted in one block, or as told. */
export function tokenConfig(told: Partial<TokenConfig> = {}): TokenConfig {
  return {
    id: 2,
    generator: "encrypted",
    serverIdBytes: 4,
    nonceBytes: 12,
    key: "8f95f09245765f80256934e50c66207f",
    macKey: "000102030405060708090a0b0c0d0e0f",
    ...told,
  };
}

/** Configurations, of which the first writes. */
export function snapshotTokens(...configs: readonly [TokenConfig, ...TokenConfig[]]): SnapshotTokens {
  return { writeId: configs[0].id, configs, removed: [] };
}

/** Lengths of server id and nonce. */
interface Lengths {
  readonly serverIdBytes: number;
  readonly nonceBytes: number;
}

/** Every pair of lengths that the draft allows. */
export const LENGTHS: readonly Lengths[] = Array.from({ length: 15 }, (_, index) => index + 1).flatMap(
  (serverIdBytes) =>
    Array.from({ length: 16 - serverIdBytes }, (_, index) => ({ serverIdBytes, nonceBytes: index + 4 })),
);

/** A plaintext, a one-block and two four-pass layouts, one of them odd and with a server id longer than the nonce. */
export const SOME_CONFIGS: fc.Arbitrary<TokenConfig> = fc.constantFrom(
  tokenConfig(),
  tokenConfig({ generator: "plaintext", serverIdBytes: 3, nonceBytes: 4 }),
  tokenConfig({ serverIdBytes: 1, nonceBytes: 18 }),
  tokenConfig({ serverIdBytes: 9, nonceBytes: 6 }),
  tokenConfig({ generator: "regional", serverIdBytes: 2, nonceBytes: 8 }),
);

/** Bytes that look random, the same for the same seed. */
export function bytesFrom(seed: string, length: number): Uint8Array {
  return new Uint8Array(createHash("sha256").update(seed).digest().subarray(0, length));
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function unhex(digits: string): Uint8Array {
  return new Uint8Array(Buffer.from(digits, "hex"));
}
