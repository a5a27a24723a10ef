import * as fc from "fast-check";
import { expect, it } from "vitest";
import { connectionIdentity, protocolOf, readCf } from "../../worker/core/identify.ts";

const RANDOM = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/** The identity of a client of which only the address is known. */
function byAddress(address: string): string | null {
  return connectionIdentity(readCf(undefined), address);
}

it("names a connection by its ClientHello random, wherever its client is", () => {
  const cf = readCf({ tlsClientRandom: RANDOM });
  expect(connectionIdentity(cf, "192.0.2.1")).toBe(`tls ${RANDOM}`);
  expect(connectionIdentity(cf, "2001:db8::1")).toBe(`tls ${RANDOM}`);
  expect(connectionIdentity(cf, null)).toBe(`tls ${RANDOM}`);
});

it.each([undefined, null, "", 5, { toString: () => RANDOM }])(
  "names it by its client's address where the random is %j",
  (tlsClientRandom) => {
    expect(connectionIdentity(readCf({ tlsClientRandom }), "192.0.2.1")).toBe("address 192.0.2.1");
  },
);

it("names it not at all where nothing is known", () => {
  expect(connectionIdentity(readCf(undefined), null)).toBeNull();
  expect(connectionIdentity(readCf({}), null)).toBeNull();
});

it("takes no address for a random", () => {
  const cf = readCf({ tlsClientRandom: "192.0.2.1" });
  expect(connectionIdentity(cf, null)).not.toBe(byAddress("192.0.2.1"));
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
