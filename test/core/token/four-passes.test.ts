import * as fc from "fast-check";
import { expect, it } from "vitest";
import { AesBlock } from "../../../worker/core/token/aes-block.ts";
import {
  applyPass,
  decryptFourPasses,
  encryptFourPasses,
  expand,
  split,
} from "../../../worker/core/token/four-passes.ts";
import { hex, unhex } from "./support.ts";

const aes = new AesBlock("fdf726a9893ec05c0632d3956680baf0");

it("expands and splits as the draft shows", () => {
  expect(hex(expand(6, 2, unhex("aaba3c")))).toBe("aaba3c00000000000000000000000602");
  const { left, right } = split(unhex("7040b81b55ccf3"));
  expect([hex(left), hex(right)]).toEqual(["7040b810", "0b55ccf3"]);
});

// The draft's example, server id 31441a and nonce 9c69c275: what AES gives in each pass, and the half that it changes. The
// draft prints 0xb3e4357c where it uses the first octets of the fourth output, which begins with b334357c; left_2 is right.
it("passes through the values of the worked example", () => {
  const halves = split(unhex("31441a9c69c275"));
  expect([hex(halves.left), hex(halves.right)]).toEqual(["31441a90", "0c69c275"]);

  expect(hex(aes.encrypt(expand(7, 1, halves.left)))).toBe("a255dd8cdacf01948d3a848c3c7fee23");
  applyPass(aes, 7, 1, halves);
  expect(hex(halves.right)).toBe("0e3c1ff9");

  expect(hex(aes.encrypt(expand(7, 2, halves.right)))).toBe("e5e452cb9e1bedb0b2bf830506bf4c4e");
  applyPass(aes, 7, 2, halves);
  expect(hex(halves.left)).toBe("d4a04850");

  expect(hex(aes.encrypt(expand(7, 3, halves.left)))).toBe("b7821ab3024fed0913b6a04d18e3216f");
  applyPass(aes, 7, 3, halves);
  expect(hex(halves.right)).toBe("09be054a");

  expect(hex(aes.encrypt(expand(7, 4, halves.right)))).toBe("b334357cfdf81e3fafe180154eaf7378");
  applyPass(aes, 7, 4, halves);
  expect(hex(halves.left)).toBe("67947d20");

  expect(hex(encryptFourPasses(aes, unhex("31441a9c69c275")))).toBe("67947d29be054a");
});

it("decrypts what it encrypted, and the left half alone in a pass less", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 5, maxLength: 19 }), (plaintext) => {
      const ciphertext = encryptFourPasses(aes, plaintext);
      const whole = Math.floor(plaintext.length / 2);
      expect(decryptFourPasses(aes, ciphertext, "all")).toEqual(plaintext);
      expect(decryptFourPasses(aes, ciphertext, "left").subarray(0, whole)).toEqual(
        plaintext.subarray(0, whole),
      );
    }),
  );
});
