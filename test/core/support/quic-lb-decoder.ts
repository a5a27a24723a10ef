import { createCipheriv, createDecipheriv } from "node:crypto";
import type { QuicLbConfig, QuicLbExport } from "../../../durable/model/quic-lb-export.ts";

/**
 * A load balancer of QUIC as far as connection ids go, written from the text of draft-ietf-quic-load-balancers-21 §4 and
 * nothing else: it shares no code with ours, counts in hexadecimal digits, and leaves AES to OpenSSL.
 *
 * @returns the address of the server; null when the connection id is unroutable.
 */
export function decode(exported: QuicLbExport, cid: Uint8Array): string | null {
  const digits = Buffer.from(cid).toString("hex");
  const rotation = Number.parseInt(digits.slice(0, 2), 16) >> 5;
  const config = exported["ietf-quic-lb-middlebox:quic-lb"]["cid-configs"].find(
    (candidate) => candidate["config-rotation-bits"] === rotation,
  );
  if (config === undefined) return null;
  const octets = config["server-id-length"] + config["nonce-length"];
  const body = digits.slice(2, 2 + 2 * octets);
  if (body.length < 2 * octets) return null;
  const serverId = decrypt(config, octets, body).slice(0, 2 * config["server-id-length"]);
  const written = serverId.match(/../g)?.join(":");
  const mapping = config["server-id-mappings"].find((candidate) => candidate["server-id"] === written);
  return mapping?.["server-address"] ?? null;
}

function decrypt(config: QuicLbConfig, octets: number, body: string): string {
  const key = config["cid-key"]?.replaceAll(":", "");
  if (key === undefined) return body;
  return octets === 16 ? decryptBlock(key, body) : decryptFourPasses(key, octets, body);
}

function decryptBlock(key: string, block: string): string {
  const cipher = createDecipheriv("aes-128-ecb", Buffer.from(key, "hex"), null).setAutoPadding(false);
  return cipher.update(block, "hex", "hex") + cipher.final("hex");
}

function encryptBlock(key: string, block: string): string {
  const cipher = createCipheriv("aes-128-ecb", Buffer.from(key, "hex"), null).setAutoPadding(false);
  return cipher.update(block, "hex", "hex") + cipher.final("hex");
}

/** Half of so many octets are as many digits as there are octets, odd or not; only whole octets go into AES. */
function decryptFourPasses(key: string, octets: number, body: string): string {
  const halfDigits = 2 * Math.ceil(octets / 2);
  let left = body.slice(0, octets);
  let right = body.slice(octets);
  for (const pass of [4, 3, 2, 1]) {
    const input = pass % 2 === 0 ? right.padStart(halfDigits, "0") : left.padEnd(halfDigits, "0");
    const output = encryptBlock(key, input.padEnd(28, "0") + twoDigits(octets) + twoDigits(pass));
    const truncated = output.slice(0, halfDigits);
    if (pass % 2 === 0) left = xor(left, truncated.slice(0, octets));
    else right = xor(right, truncated.slice(halfDigits - octets));
  }
  return left + right;
}

function twoDigits(value: number): string {
  return value.toString(16).padStart(2, "0");
}

function xor(a: string, b: string): string {
  return (BigInt(`0x${a}`) ^ BigInt(`0x${b}`)).toString(16).padStart(a.length, "0");
}
