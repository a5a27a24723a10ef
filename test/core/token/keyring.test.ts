import * as fc from "fast-check";
import { expect, it } from "vitest";
import { regionOctet } from "../../../durable/model/server-id.ts";
import type { TokenConfig } from "../../../durable/model/snapshot.ts";
import { after } from "../../../durable/model/time.ts";
import { decodeBase64url, encodeBase64url } from "../../../worker/core/base64url.ts";
import {
  Keyring,
  OpenedToken,
  type TokenContent,
  type TokenReading,
} from "../../../worker/core/token/keyring.ts";
import { NOON, poolName } from "../support/build.ts";
import { bytesFrom, SOME_CONFIGS, snapshotTokens, tokenConfig } from "./support.ts";

const POOL = poolName("shop");
const HOUR_MS = 3_600_000;
const LATER = after(NOON, HOUR_MS);

const CONTENT: TokenContent = {
  serverId: 7,
  region: "eu-west",
  sessionId: "0123456789abcdef",
  startedMs: NOON,
  expiresMs: LATER,
};

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function keyring(...configs: readonly [TokenConfig, ...TokenConfig[]]): Keyring {
  return new Keyring(POOL, snapshotTokens(...configs));
}

function issue(by: Keyring, told: Partial<TokenContent> = {}, seed = "nonce"): string {
  return by.issue({ ...CONTENT, ...told }, bytesFrom(seed, 18));
}

/** The reading, which must be good. */
function opened(reading: TokenReading): OpenedToken {
  if (reading instanceof OpenedToken) return reading;
  throw new Error(`${reading} must be a token`);
}

/** Why there is no token; "opened" when there is. */
function refusal(reading: TokenReading): string {
  return reading instanceof OpenedToken ? "opened" : reading;
}

it("reads everything that it put into a token, in whole seconds", () => {
  fc.assert(
    fc.property(
      SOME_CONFIGS,
      fc.nat(255),
      fc.nat(4_000_000_000),
      fc.bigInt(0n, 2n ** 64n - 1n),
      (config, serverId, startedMs, session) => {
        const by = keyring(config);
        const sessionId = session.toString(16).padStart(16, "0");
        const content = {
          serverId,
          sessionId,
          startedMs: after(NOON, -startedMs),
          expiresMs: after(NOON, 90_999),
        };
        const token = opened(by.read(issue(by, content), NOON));
        expect(token).toMatchObject({
          configId: config.id,
          serverId,
          region: config.generator === "regional" ? regionOctet("eu-west") : 0,
          sessionId,
          startedMs: 1_000 * Math.floor(content.startedMs / 1_000),
          expiresMs: NOON + 90_000,
          requests: 0,
        });
      },
    ),
  );
});

it("issues by default 55 characters that cookies and headers carry as they are", () => {
  const text = issue(keyring(tokenConfig()));
  expect(text).toMatch(/^[A-Za-z0-9_-]{55}$/);
});

it("never yields a backend when any single bit is flipped", () => {
  fc.assert(
    fc.property(SOME_CONFIGS, fc.string(), (config, seed) => {
      // Other configurations are held too, under the same keys, so that a flip may lead to them.
      const others = [0, 1, 3, 4, 5].map((id) => Object.assign({}, config, { id }));
      const by = keyring(config, ...others);
      const text = issue(by, {}, seed);
      const bytes = decodeBase64url(text) ?? new Uint8Array();
      for (let bit = 0; bit < 8 * bytes.length; bit++) {
        const flipped = bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
        expect(["invalid", "unknown", "expired"]).toContain(refusal(by.read(encodeBase64url(flipped), NOON)));
      }
      expect(refusal(by.read(text, NOON))).toBe("opened");
    }),
    { numRuns: 25 },
  );
});

it("never yields a backend when any single character is changed, left out, doubled or put in", () => {
  const characters = Array.from(`${ALPHABET}=+/ \n;\0éＡ`);
  fc.assert(
    fc.property(SOME_CONFIGS, fc.string(), (config, seed) => {
      const by = keyring(config);
      const text = issue(by, {}, seed);
      const edited = Array.from({ length: text.length + 1 }, (_, at) => {
        const [before, character, rest] = [text.slice(0, at), text.charAt(at), text.slice(at + 1)];
        return characters.flatMap((other) => [
          before + other + rest,
          before + other + character + rest,
          before + rest,
        ]);
      });
      for (const other of new Set(edited.flat())) {
        expect(["invalid", "unknown", "expired", other === text ? "opened" : "invalid"]).toContain(
          refusal(by.read(other, NOON)),
        );
      }
    }),
    { numRuns: 5 },
  );
});

it("takes any text without an exception, and never for a token", () => {
  const by = keyring(tokenConfig(), tokenConfig({ id: 0, generator: "plaintext" }));
  const anyBytes = fc.uint8Array({ maxLength: 50 }).map(encodeBase64url);
  const likely = fc
    .tuple(fc.constantFrom(0x50, 0x10, 0xff, 0x4f), fc.uint8Array({ minLength: 40, maxLength: 40 }))
    .map(([first, rest]) => encodeBase64url(Uint8Array.of(first, ...rest)));
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 200 }), anyBytes, likely), (text) => {
      expect(["invalid", "unknown", "expired"]).toContain(by.read(text, NOON));
    }),
    { numRuns: 3_000 },
  );
});

it.each([60, 129, 1_000_000])("takes %d characters for invalid", (length) => {
  expect(keyring(tokenConfig()).read("A".repeat(length), NOON)).toBe("invalid");
});

it("takes a token for expired from its very second on, remembered or not", () => {
  const by = keyring(tokenConfig());
  const text = issue(by);
  expect(by.read(text, LATER)).toBe("expired");
  expect(refusal(by.read(text, after(LATER, -1)))).toBe("opened");
  expect(by.read(text, LATER)).toBe("expired");
  expect(refusal(by.read(text, after(LATER, -1)))).toBe("opened");
});

it("takes an altered token for invalid even after its time", () => {
  const by = keyring(tokenConfig());
  const text = issue(by);
  expect(by.read(`${text.slice(0, -1)}${text.endsWith("A") ? "E" : "A"}`, LATER)).toBe("invalid");
});

it("takes the unroutable codepoint and a configuration not held here for unknown", () => {
  const text = issue(keyring(tokenConfig({ id: 5 })));
  const bytes = decodeBase64url(text) ?? new Uint8Array();
  expect(keyring(tokenConfig({ id: 2 })).read(text, NOON)).toBe("unknown");
  bytes[0] = (bytes[0] ?? 0) | 0b1110_0000;
  expect(keyring(tokenConfig({ id: 5 })).read(encodeBase64url(bytes), NOON)).toBe("unknown");
});

// Otherwise a client that comes back after its keys have retired would carry a token that nobody ever replaces.
it("takes a token of a configuration not held here for expired when it says so itself", () => {
  const text = issue(keyring(tokenConfig({ id: 5 })));
  expect(keyring(tokenConfig({ id: 2 })).read(text, LATER)).toBe("expired");
});

it("writes under one configuration and goes on reading the others", () => {
  const [old, next] = [tokenConfig({ id: 0 }), tokenConfig({ id: 1, serverIdBytes: 3, nonceBytes: 5 })];
  const text = issue(keyring(old));
  const by = keyring(next, old);
  expect([by.writeId, by.nonceBytes]).toEqual([1, 5]);
  expect(opened(by.read(text, NOON)).configId).toBe(0);
  expect(opened(by.read(issue(by), NOON)).configId).toBe(1);
});

it("reads no token of another pool or another life of a configuration", () => {
  const text = issue(keyring(tokenConfig()));
  const elsewhere = new Keyring(poolName("blog"), snapshotTokens(tokenConfig()));
  expect(elsewhere.read(text, NOON)).toBe("invalid");
  expect(keyring(tokenConfig({ macKey: "ff".repeat(16) })).read(text, NOON)).toBe("invalid");
});

it("gives the same object for the same token, so that its requests add up", () => {
  const by = keyring(tokenConfig());
  const text = issue(by);
  const token = opened(by.read(text, NOON));
  token.requests++;
  for (let index = 0; index < 20_000; index++) by.read(`${text.slice(0, -6)}${index + 100_000}`, NOON);
  expect(by.read(text, NOON)).toBe(token);
  expect(opened(by.read(text, NOON)).requests).toBe(1);
});

it("remembers no more tokens than it may", () => {
  const by = new Keyring(POOL, snapshotTokens(tokenConfig()), 10);
  const texts = Array.from({ length: 11 }, (_, index) => issue(by, {}, `nonce ${index}`));
  const tokens = texts.map((text) => opened(by.read(text, NOON)));
  expect(by.read(texts[10] ?? "", NOON)).toBe(tokens[10]);
  expect(by.read(texts[0] ?? "", NOON)).not.toBe(tokens[0]);
});

it("refuses to be made without the configuration that it should write under", () => {
  expect(() => new Keyring(POOL, { writeId: 3, configs: [tokenConfig()], removed: [] })).toThrow("writeId 3");
});
