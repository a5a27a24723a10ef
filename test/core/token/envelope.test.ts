import { expect, it } from "vitest";
import { createKeyedHash, toHex } from "../../../worker/core/keyed-hash.ts";
import { Envelope } from "../../../worker/core/token/envelope.ts";
import { poolName } from "../support/build.ts";
import { hex, unhex } from "./support.ts";

const macKey = "000102030405060708090a0b0c0d0e0f";
const cid = unhex("07c4605e4504cc4f");
const claims = { expiresS: 0x6b_49_d2_00, startedS: 0x6b_48_80_80, sessionId: "0123456789abcdef" };

function envelope(pool: string, id = 0): Envelope {
  return new Envelope(poolName(pool), { id, macKey }, cid.length);
}

it("lays a token out as connection id, expiry, session start, session id and MAC", () => {
  const bytes = hex(envelope("shop").seal(cid, claims));
  expect(bytes.slice(0, -16)).toBe(`${hex(cid)}6b49d2006b4880800123456789abcdef`);
  // The MAC, from its definition: domain, length and name of the pool, configuration, and all that comes before.
  const message = `${hex(new TextEncoder().encode("ring-token\u0004shop"))}00${bytes.slice(0, -16)}`;
  expect(bytes.slice(-16)).toBe(toHex(createKeyedHash(macKey)(unhex(message))));
});

it("opens what it sealed, wherever the bytes lie", () => {
  const sealed = envelope("shop").seal(cid, claims);
  const shifted = new Uint8Array(sealed.length + 3);
  shifted.set(sealed, 3);
  expect(envelope("shop").open(sealed)).toEqual(claims);
  expect(envelope("shop").open(shifted.subarray(3))).toEqual(claims);
});

it("opens nothing of another pool, configuration, key or length", () => {
  const sealed = envelope("shop").seal(cid, claims);
  expect(envelope("shot").open(sealed)).toBeNull();
  expect(envelope("shopping").open(sealed)).toBeNull();
  expect(envelope("shop", 1).open(sealed)).toBeNull();
  const otherKey = { id: 0, macKey: "ff".repeat(16) };
  expect(new Envelope(poolName("shop"), otherKey, cid.length).open(sealed)).toBeNull();
  expect(envelope("shop").open(sealed.subarray(1))).toBeNull();
  expect(envelope("shop").open(Uint8Array.of(...sealed, 0))).toBeNull();
});

it("keeps times within 32 bits", () => {
  const sealed = envelope("shop").seal(cid, { ...claims, startedS: -1, expiresS: 2 ** 40 });
  expect(envelope("shop").open(sealed)).toEqual({ ...claims, startedS: 0, expiresS: 2 ** 32 - 1 });
});

it("refuses to seal a session id that is not 16 hexadecimal digits", () => {
  for (const sessionId of ["", "0123", "0123456789ABCDEF", "0123456789abcdef0"])
    expect(() => envelope("shop").seal(cid, { ...claims, sessionId })).toThrow(sessionId);
});
