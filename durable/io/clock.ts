import { type EpochMs, epochMs } from "../model/time.ts";

/** The object's clock. It stands still between I/O. */
export function now(): EpochMs {
  return epochMs(Date.now());
}

/** `bytes` random bytes in hexadecimal. */
export function randomHex(bytes: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
