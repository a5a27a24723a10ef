import type { GeneratorName } from "./token.ts";

/** How long a server id is, and whether it begins with a region. */
export interface ServerIdLayout {
  readonly generator: GeneratorName;
  readonly serverIdBytes: number;
}

/** JavaScript counts exactly up to 2^53, so the number in a longer server id begins with zeros. */
const MAX_NUMBER_BYTES = 6;

/** How many backends a layout can name. */
export function serverIdSpace(layout: ServerIdLayout): number {
  return 256 ** Math.min(numberBytes(layout), MAX_NUMBER_BYTES);
}

/**
 * The bytes of a server id as tokens carry them: the region's octet where the layout has one, then the number.
 *
 * @throws when the layout cannot name that many backends; the ring gives no such number out.
 */
export function encodeServerId(layout: ServerIdLayout, serverId: number, region: string | null): Uint8Array {
  if (!Number.isInteger(serverId) || serverId < 0 || serverId >= serverIdSpace(layout))
    throw new RangeError(`server id ${serverId} must be an integer 0…${serverIdSpace(layout) - 1}`);
  const bytes = new Uint8Array(layout.serverIdBytes);
  let rest = serverId;
  for (let at = bytes.length - 1; rest > 0; at--) {
    bytes[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  if (layout.generator === "regional") bytes[0] = regionOctet(region);
  return bytes;
}

/** The number in the bytes of a server id; null when it is larger than any that is given out. */
export function decodeServerId(layout: ServerIdLayout, bytes: Uint8Array): number | null {
  const number = bytes.subarray(bytes.length - numberBytes(layout));
  const leading = number.subarray(0, Math.max(0, number.length - MAX_NUMBER_BYTES));
  if (leading.some((byte) => byte !== 0)) return null;
  return number.subarray(leading.length).reduce((value, byte) => value * 256 + byte, 0);
}

/** The octet that stands for a region: 1…255, by FNV-1a, so two of many regions may share one; 0 for none. */
export function regionOctet(region: string | null): number {
  if (region === null) return 0;
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(region)) hash = Math.imul(hash ^ byte, 0x01000193);
  return ((hash >>> 0) % 255) + 1;
}

function numberBytes({ generator, serverIdBytes }: ServerIdLayout): number {
  return generator === "regional" ? serverIdBytes - 1 : serverIdBytes;
}
