import * as fc from "fast-check";
import { expect, it } from "vitest";
import { after } from "../../durable/model/time.ts";
import { GENERATORS } from "../../durable/model/token.ts";
import { projectSnapshot } from "../../durable/state/project.ts";
import { projectQuicLbExport } from "../../durable/state/project-tokens.ts";
import { decodeBase64url } from "../../worker/core/base64url.ts";
import { Keyring } from "../../worker/core/token/keyring.ts";
import { NOON, pool } from "./support/build.ts";
import { decode } from "./support/quic-lb-decoder.ts";

const LAYOUT = fc
  .record({
    generator: fc.constantFrom(...GENERATORS),
    serverIdBytes: fc.integer({ min: 2, max: 15 }),
    nonceBytes: fc.integer({ min: 4, max: 17 }),
  })
  .filter(({ serverIdBytes, nonceBytes }) => serverIdBytes + nonceBytes <= 19);

it("lets a decoder written from the draft alone find the backend of every token", () => {
  fc.assert(
    fc.property(LAYOUT, fc.uint8Array({ minLength: 18, maxLength: 18 }), (layout, nonce) => {
      const told = { a: 1, b: { weight: 2, labels: { region: "eu" } }, c: { weight: 0 } };
      const ring = pool(told);
      const [config] = ring.tokens.configs;
      if (config === undefined) throw new Error("a pool has a token configuration");
      const tokens = { ...ring.tokens, configs: [{ ...config, ...layout }] };
      const live = { ...ring, tokens };
      const snapshot = projectSnapshot(live);
      const keyring = new Keyring(snapshot.pool, snapshot.tokens);
      for (const { url, serverId, region } of snapshot.backends) {
        const expiresMs = after(NOON, 60_000);
        const content = { serverId, region, sessionId: "0123456789abcdef", startedMs: NOON, expiresMs };
        const bytes = decodeBase64url(keyring.issue(content, nonce)) ?? new Uint8Array();
        const cid = bytes.subarray(0, 1 + layout.serverIdBytes + layout.nonceBytes);
        expect(decode(projectQuicLbExport(live), cid)).toBe(new URL(url).host);
      }
    }),
  );
});
