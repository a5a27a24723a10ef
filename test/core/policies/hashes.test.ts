import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { toHex } from "../../../worker/core/keyed-hash.ts";
import { md5 } from "../../../worker/core/policies/md5.ts";
import { xxHash64 } from "../../../worker/core/policies/xx-hash.ts";

// The longest goes through the four lanes, and all its ends; with a seed as python-xxhash documents it.
it.each([
  ["", 0, "ef46db3751d8e999"],
  ["abc", 0, "44bc2cf5ad770999"],
  ["Nobody inspects the spammish repetition", 0, "fbcea83c8a378bf1"],
  ["xxhash", 20_141_025, "b559b98d844e0635"],
])("hashes %j as XXH64 with the seed %i", (text, seed, digest) => {
  expect(toHex(xxHash64(new TextEncoder().encode(text), seed))).toBe(digest);
});

it("hashes every ASCII text as MD5 does", () => {
  const text = fc.string({ unit: "grapheme-ascii", maxLength: 200, size: "max" });
  fc.assert(
    fc.property(text, (ascii) => {
      const digest = createHash("md5").update(ascii).digest();
      expect([...md5(ascii)]).toEqual([0, 4, 8, 12].map((at) => digest.readUInt32LE(at)));
    }),
  );
});
