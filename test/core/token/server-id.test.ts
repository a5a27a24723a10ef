import * as fc from "fast-check";
import { expect, it } from "vitest";
import {
  decodeServerId,
  encodeServerId,
  regionOctet,
  type ServerIdLayout,
  serverIdSpace,
} from "../../../durable/model/server-id.ts";
import { hex, unhex } from "./support.ts";

const plain = (serverIdBytes: number): ServerIdLayout => ({ generator: "encrypted", serverIdBytes });
const regional = (serverIdBytes: number): ServerIdLayout => ({ generator: "regional", serverIdBytes });

it("has room for 256 to the power of the bytes, of which a region takes one", () => {
  expect([plain(1), plain(4), regional(2), regional(4)].map(serverIdSpace)).toEqual([
    256,
    256 ** 4,
    256,
    256 ** 3,
  ]);
});

it("has no more room than six bytes, which numbers can count exactly", () => {
  expect([plain(6), plain(15), regional(15)].map(serverIdSpace)).toEqual([256 ** 6, 256 ** 6, 256 ** 6]);
});

it("writes the number last, after the region's octet where there is one", () => {
  expect(hex(encodeServerId(plain(4), 0x01_02_03, "eu"))).toBe("00010203");
  expect(hex(encodeServerId(regional(4), 0x01_02_03, null))).toBe("00010203");
  const octet = regionOctet("eu").toString(16).padStart(2, "0");
  expect(hex(encodeServerId(regional(4), 0x01_02_03, "eu"))).toBe(`${octet}010203`);
});

it("reads back every number that there is room for", () => {
  const layouts = fc.tuple(fc.constantFrom(plain, regional), fc.integer({ min: 2, max: 15 }));
  fc.assert(
    fc.property(layouts, fc.option(fc.string()), fc.maxSafeNat(), ([layout, bytes], region, any) => {
      const last = serverIdSpace(layout(bytes)) - 1;
      for (const serverId of [0, any % last, last])
        expect(decodeServerId(layout(bytes), encodeServerId(layout(bytes), serverId, region))).toBe(serverId);
    }),
  );
});

it("refuses to write a number that there is no room for", () => {
  expect(() => encodeServerId(plain(1), 256, null)).toThrow("server id 256 must be an integer 0…255");
  expect(() => encodeServerId(regional(2), 256, null)).toThrow("0…255");
  expect(() => encodeServerId(plain(1), -1, null)).toThrow("server id -1");
});

it("reads no number that is larger than any given out", () => {
  expect(decodeServerId(plain(7), unhex("01000000000000"))).toBeNull();
  expect(decodeServerId(plain(7), unhex("00ffffffffffff"))).toBe(256 ** 6 - 1);
});

it("gives every region an octet other than the one for none", () => {
  expect(regionOctet(null)).toBe(0);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (region) => {
      const octet = regionOctet(region);
      expect(Number.isInteger(octet) && octet >= 1 && octet <= 255).toBe(true);
    }),
  );
});
