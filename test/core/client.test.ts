import { expect, it } from "vitest";
import { Client } from "../../worker/core/client.ts";

const FRONT = { header: "x-connection", secret: "correct-horse-battery" };
const ADDRESS = "192.0.2.1";
const CF = { tlsClientRandom: "AAECAwQFBgc=", colo: "FRA", httpProtocol: "HTTP/3" };

/** A client of whom so much is known. */
function client(
  headers: Readonly<Record<string, string>>,
  cf?: object,
  front: typeof FRONT | null = null,
): Client {
  return new Client(new Headers(headers), cf, "?a=1", front);
}

it("knows a client by address, protocol and connection", () => {
  const known = client({ "CF-Connecting-IP": ADDRESS }, CF);
  expect(known).toMatchObject({ clientAddress: ADDRESS, protocol: "HTTP/3", query: "?a=1" });
  expect(known.connection).toEqual({
    identity: "tls AAECAwQFBgc=",
    isExact: true,
    from: `${ADDRESS} FRA`,
  });
});

it("gets by without anything that speaks for the client", () => {
  const unknown = client({});
  expect(unknown).toMatchObject({ clientAddress: null, protocol: "other" });
  expect(unknown.connection).toBeNull();
  expect(unknown.connection).toBeNull();
});

it("knows a client by its address where the platform says nothing else", () => {
  const known = client({ "cf-connecting-ip": ADDRESS });
  expect(known.connection).toMatchObject({ identity: `address ${ADDRESS}`, isExact: false });
});

it("believes the front that proves itself", () => {
  const known = client({ "X-Connection": `${FRONT.secret}:quic-1` }, CF, FRONT);
  expect(known.connection).toMatchObject({ identity: "front quic-1", isExact: true });
});

it.each<[string, Readonly<Record<string, string>>, typeof FRONT | null]>([
  ["sends no header of a front", {}, FRONT],
  ["knows no secret", { "x-connection": "quic-1" }, FRONT],
  ["knows a wrong one", { "x-connection": "wrong-horse-batteries:quic-1" }, FRONT],
  ["sends two headers, one of them a guess", { "x-connection": `guess, ${FRONT.secret}:quic-1` }, FRONT],
  ["comes where there is no front", { "x-connection": `${FRONT.secret}:quic-1` }, null],
  ["sends the proof in another header", { "x-conn": `${FRONT.secret}:quic-1` }, FRONT],
])("names the TLS connection of one who %s", (_, headers, front) => {
  expect(client(headers, CF, front).connection).toMatchObject({ identity: "tls AAECAwQFBgc=" });
});
