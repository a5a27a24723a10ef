import { expect, it } from "vitest";
import { type Header, namesOf, valuesOf } from "./support-client.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ any: {} }, { TRUST_FORWARDED: "true" });

/** The headers a backend gets when a client that is trusted sends these. */
async function passedOn(...headers: readonly Header[]): Promise<readonly Header[]> {
  return (await stage.scene("any").delivers({ headers })).headers;
}

it("appends the address it was asked from to those it was told", async () => {
  const got = await passedOn(
    ["X-Forwarded-For", "192.0.2.1"],
    ["X-Forwarded-For", "192.0.2.2"],
    ["CF-Connecting-IP", "203.0.113.9"],
  );
  expect(valuesOf(got, "x-forwarded-for").join(", ")).toBe("192.0.2.1, 192.0.2.2, 203.0.113.9");
});

it("keeps the scheme, host and port that a trusted client names", async () => {
  const got = await passedOn(
    ["X-Forwarded-Host", "shop.example"],
    ["X-Forwarded-Port", "8443"],
    ["X-Forwarded-Proto", "https"],
    ["X-Real-IP", "192.0.2.1"],
  );
  expect(valuesOf(got, "x-forwarded-host")).toEqual(["shop.example"]);
  expect(valuesOf(got, "x-forwarded-port")).toEqual(["8443"]);
  expect(valuesOf(got, "x-forwarded-proto")).toEqual(["https"]);
  expect(valuesOf(got, "x-real-ip")).toEqual(["192.0.2.1"]);
});

it("says itself what a trusted client leaves out", async () => {
  const got = await passedOn(["CF-Connecting-IP", "203.0.113.9"]);
  expect(valuesOf(got, "x-forwarded-for")).toEqual(["203.0.113.9"]);
  expect(valuesOf(got, "x-forwarded-host")).toEqual(["any.test"]);
  expect(valuesOf(got, "x-forwarded-proto")).toEqual(["http"]);
  expect(valuesOf(got, "x-real-ip")).toEqual(["203.0.113.9"]);
  expect(namesOf(got)).not.toContain("forwarded");
});

it.each([
  ["203.0.113.9", "for=203.0.113.9"],
  ["2001:db8::1", 'for="[2001:db8::1]"'],
])("appends an element to Forwarded when there is one: asked from %s", async (address, node) => {
  const got = await passedOn(["Forwarded", "for=192.0.2.1;proto=https"], ["CF-Connecting-IP", address]);
  expect(valuesOf(got, "forwarded").join(", ")).toBe(
    `for=192.0.2.1;proto=https, ${node};host="any.test";proto=http`,
  );
});
