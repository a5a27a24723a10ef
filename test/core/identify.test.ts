import * as fc from "fast-check";
import { expect, it } from "vitest";
import {
  type Connection,
  frontIdentity,
  identifyConnection,
  networkOf,
  protocolOf,
  readCf,
} from "../../worker/core/identify.ts";

const RANDOM = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const ADDRESS = "192.0.2.1";

/** The connection of a client of which so much is known. */
function identify(
  cf: object | undefined,
  clientAddress: string | null,
  front: string | null = null,
): Connection | null {
  return identifyConnection({ cf: readCf(cf), clientAddress, front });
}

/** The identity of a client of which only the address is known. */
function byAddress(address: string): string | undefined {
  return identify(undefined, address)?.identity;
}

it("names a connection by its ClientHello random, wherever its client is", () => {
  const places = [ADDRESS, "2001:db8::1", null];
  const cf = { tlsClientRandom: RANDOM };
  for (const address of places) {
    expect(identify(cf, address)).toMatchObject({ identity: `tls ${RANDOM}`, isExact: true });
  }
});

it("believes its own front before TLS, whose connection is the front's own, and TLS before the address", () => {
  const cf = { tlsClientRandom: RANDOM };
  expect(identify(cf, ADDRESS, "quic-1")).toMatchObject({ identity: "front quic-1", isExact: true });
  expect(identify(undefined, null, "quic-1")).toMatchObject({ identity: "front quic-1", isExact: true });
  expect(identify(cf, ADDRESS)).toMatchObject({ identity: `tls ${RANDOM}`, isExact: true });
  expect(identify(undefined, ADDRESS)).toMatchObject({ identity: `address ${ADDRESS}`, isExact: false });
});

it.each([undefined, null, "", 5, { toString: () => RANDOM }])(
  "names it by its client's address where the random is %j",
  (tlsClientRandom) => {
    const named = { identity: `address ${ADDRESS}`, isExact: false };
    expect(identify({ tlsClientRandom }, ADDRESS)).toMatchObject(named);
  },
);

it("names it not at all where nothing is known", () => {
  expect(identify(undefined, null)).toBeNull();
  expect(identify({}, null)).toBeNull();
  expect(identify({ colo: "FRA" }, null)).toBeNull();
});

it("takes no address for a random, and neither for what a front says", () => {
  const names = [
    identify(undefined, ADDRESS),
    identify({ tlsClientRandom: ADDRESS }, null),
    identify(undefined, null, ADDRESS),
  ];
  expect(new Set(names.map((connection) => connection?.identity)).size).toBe(3);
});

it("says from where a connection comes by address and colo, of which each may be unknown", () => {
  const cf = { tlsClientRandom: RANDOM, colo: "FRA" };
  const here = identify(cf, ADDRESS)?.from;
  expect(identify(cf, ADDRESS)?.from).toBe(here);
  const elsewhere = [
    identify(cf, "192.0.2.2"),
    identify(cf, null),
    identify({ ...cf, colo: "AMS" }, ADDRESS),
    identify({ ...cf, colo: undefined }, ADDRESS),
  ];
  expect(new Set([here, ...elsewhere.map((connection) => connection?.from)]).size).toBe(5);
  expect(identify({ ...cf, colo: 5 }, ADDRESS)?.from).toBe(
    identify({ ...cf, colo: undefined }, ADDRESS)?.from,
  );
});

const SECRET = "correct-horse-battery";

it("takes what a front says after its secret and a colon", () => {
  expect(frontIdentity(`${SECRET}:quic-1`, SECRET)).toBe("quic-1");
  expect(frontIdentity(`${SECRET}:a:b`, SECRET)).toBe("a:b");
});

it.each([
  null,
  "",
  ":",
  "quic-1",
  ":quic-1",
  SECRET,
  `${SECRET}:`,
  `${SECRET} quic-1`,
  `${SECRET.slice(1)}:quic-1`,
  `${SECRET.slice(0, -1)}:quic-1`,
  `${SECRET}r:quic-1`,
  `x${SECRET}:quic-1`,
  `${SECRET.toUpperCase()}:quic-1`,
  `${SECRET.slice(0, -1)}z:quic-1`,
  `c${"x".repeat(SECRET.length - 1)}:quic-1`,
  ` ${SECRET}:quic-1`,
])("does not believe %j, which does not prove to be from the front", (header) => {
  expect(frontIdentity(header, SECRET)).toBeNull();
});

it("believes nobody who has changed a single character of the secret", () => {
  const other = fc.string({ minLength: 1, maxLength: 1, unit: "binary" });
  fc.assert(
    fc.property(fc.nat({ max: SECRET.length - 1 }), other, fc.string(), (at, character, name) => {
      const guess = SECRET.slice(0, at) + character + SECRET.slice(at + 1);
      const isRight = guess === SECRET && name !== "";
      expect(frontIdentity(`${guess}:${name}`, SECRET)).toBe(isRight ? name : null);
    }),
    { numRuns: 2_000 },
  );
});

it("names the network of an IPv4 address by the address itself", () => {
  expect(networkOf(ADDRESS)).toBe(ADDRESS);
});

it.each([
  ["2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"],
  ["2001:DB8:1:2::", "2001:0db8:0001:0002"],
  ["2001:db8:1:2::9", "2001:0db8:0001:0002"],
  ["2001:db8::1", "2001:0db8:0000:0000"],
  ["2001:db8::2:0:0:0:1", "2001:0db8:0000:0002"],
  ["1:2:3:4:5:6:7::", "0001:0002:0003:0004"],
  ["::2:3:4:5:6:7:8", "0000:0002:0003:0004"],
  ["::", "0000:0000:0000:0000"],
  ["::1", "0000:0000:0000:0000"],
  ["fe80::1%eth0", "fe80:0000:0000:0000"],
  ["64:ff9b::192.0.2.1", "0064:ff9b:0000:0000"],
  ["1:2:3::192.0.2.1", "0001:0002:0003:0000"],
  ["::2:3:4:5:6:192.0.2.1", "0000:0002:0003:0004"],
])("takes of the address %s the network that one client roams in", (address, network) => {
  expect(byAddress(address)).toBe(`address ${network}`);
});

// What happened: an IPv4 address in IPv6's clothes was cut to its first 64 bits, which are zero for all of them, so every
// client behind a front that writes addresses like that was one connection.
it.each(["::ffff:192.0.2.1", "::FFFF:192.0.2.1", "0:0:0:0:0:ffff:192.0.2.1"])(
  "takes %s for the IPv4 address in it",
  (address) => {
    expect(byAddress(address)).toBe("address 192.0.2.1");
    expect(byAddress(address)).toBe(byAddress("192.0.2.1"));
  },
);

/** An IPv6 address of these eight groups, in one of the ways to write it. */
function written(groups: readonly number[]): fc.Arbitrary<string> {
  const digits = groups.map((group) => group.toString(16));
  return fc.constantFrom(
    digits.join(":"),
    digits.map((group) => group.padStart(4, "0")).join(":"),
    new URL(`http://[${digits.join(":")}]`).hostname.slice(1, -1),
  );
}

it("takes all addresses of one /64 for one client, and of two for two, however they are written", () => {
  // None of them begins with a zero, as those do that hold an IPv4 address.
  const group = fc.integer({ min: 1, max: 0xffff });
  const four = fc.tuple(group, group, group, group);
  const host = fc.array(fc.oneof(group, fc.constant(0)), { minLength: 4, maxLength: 4 });
  const three = fc.tuple(four, four, host, host, host).chain(([one, other, a, b, c]) =>
    fc.record({
      isOneNetwork: fc.constant(String(one) === String(other)),
      addresses: fc.tuple(written([...one, ...a]), written([...one, ...b]), written([...other, ...c])),
    }),
  );
  fc.assert(
    fc.property(three, ({ isOneNetwork, addresses: [a, b, c] }) => {
      expect(byAddress(a)).toBe(byAddress(b));
      expect(byAddress(a) === byAddress(c)).toBe(isOneNetwork);
    }),
    { numRuns: 1_000 },
  );
});

it.each(["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"])("knows the protocol %s", (httpProtocol) => {
  expect(protocolOf(readCf({ httpProtocol }))).toBe(httpProtocol);
});

it.each([undefined, null, "", "HTTP/4", "http/2", 2])("counts the protocol %j as other", (httpProtocol) => {
  expect(protocolOf(readCf({ httpProtocol }))).toBe("other");
});
