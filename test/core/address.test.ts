import { expect, it } from "vitest";
import { whyUnfetchable } from "../../worker/core/address.ts";

it.each([
  "http://192.0.2.1",
  "http://192.0.2.1:8080/base",
  "http://3221225985",
  "http://0xC0000201",
  "http://0xc0.0x0.0x2.0x1",
  "http://0300.0.2.1",
  "http://192.0.513",
  "http://192.513",
  "http://127.1",
  "http://192.0.2.1.",
  "http://[2001:db8::1]",
  "http://[::1]:8080",
  "http://[::ffff:192.0.2.1]",
])("says that the platform does not fetch from the literal address %s", (url) => {
  expect(whyUnfetchable(url)).toBe("must name its host: the platform does not fetch from literal addresses");
});

it.each([
  "http://localhost:8787",
  "http://LOCALHOST",
  "http://a.localhost",
  "http://printer.local",
  "http://db.internal",
  "http://nas.home.arpa",
])("says that the platform does not reach the local name %s", (url) => {
  expect(whyUnfetchable(url)).toBe("must name a public host: the platform does not reach local ones");
});

it.each([
  "https://a.example",
  "https://xn--bcher-kva.example:8443/base",
  "https://192.0.2.1.example",
  "https://localhost.example",
  "https://not.alocal",
  "https://my.alocalhost",
  "https://home.arpa.example",
])("has nothing against %s", (url) => {
  expect(whyUnfetchable(url)).toBeNull();
});
