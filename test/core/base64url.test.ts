import * as fc from "fast-check";
import { expect, it } from "vitest";
import { decodeBase64url, encodeBase64url } from "../../worker/core/base64url.ts";

const BYTES = fc.uint8Array({ maxLength: 200 });

it.each([
  ["", ""],
  ["f", "Zg"],
  ["fo", "Zm8"],
  ["foo", "Zm9v"],
  ["foob", "Zm9vYg"],
  ["fooba", "Zm9vYmE"],
  ["foobar", "Zm9vYmFy"],
])("writes %j as RFC 4648 §10 does, without the padding", (plain, text) => {
  expect(encodeBase64url(new TextEncoder().encode(plain))).toBe(text);
  expect(new TextDecoder().decode(decodeBase64url(text) ?? Uint8Array.of(0))).toBe(plain);
});

it("writes any bytes as Node does, and reads them back", () => {
  fc.assert(
    fc.property(BYTES, (bytes) => {
      const text = encodeBase64url(bytes);
      expect(text).toBe(Buffer.from(bytes).toString("base64url"));
      expect(decodeBase64url(text)).toEqual(bytes);
    }),
  );
});

it("reads only the one text that stands for some bytes", () => {
  const nearly = fc.string({
    unit: fc.constantFrom(...Array.from("AQgwBR_-+/= \n\0\u0080\u0141é😀")),
    maxLength: 12,
  });
  fc.assert(
    fc.property(fc.oneof(nearly, fc.string({ unit: "binary" })), (text) => {
      const bytes = decodeBase64url(text);
      expect(bytes === null || encodeBase64url(bytes) === text).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

// Node's own decoder reads every one of these as some bytes.
it.each(["Zg==", "Zh", "Zm9", "Zg ", " Zg", "Zm9v\n", "Z", "Zm9vY", "+/+/", "Zm9v.Zg", "Ａg"])(
  "refuses %j",
  (text) => {
    expect(decodeBase64url(text)).toBeNull();
  },
);
