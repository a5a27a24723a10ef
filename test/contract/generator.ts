import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { regionOctet, serverIdSpace } from "../../durable/model/server-id.ts";
import type { TokenConfig } from "../../durable/model/snapshot.ts";
import type { GeneratorName } from "../../durable/model/token.ts";
import { createGenerator } from "../../worker/core/token/by-name.ts";
import { LENGTHS, tokenConfig } from "../core/token/support.ts";

const NONCES = fc.uint8Array({ minLength: 18, maxLength: 18 });
const REGIONS = fc.option(fc.constantFrom("eu-west", "us-east", "", "日本"));
/** 0…1, as a place among all server ids of a layout. */
const PLACES = fc.double({ min: 0, max: 1, noNaN: true });

/** A server id of the layout. */
function serverIdAt(config: TokenConfig, place: number): number {
  return Math.floor(place * (serverIdSpace(config) - 1));
}

/** What every generator keeps, under the name by which a pool asks for it. */
export function describeGenerator(name: GeneratorName): void {
  const shortest = name === "regional" ? 2 : 1;
  /** Every layout that a pool may ask for. */
  const configs: readonly TokenConfig[] = LENGTHS.filter(
    ({ serverIdBytes }) => serverIdBytes >= shortest,
  ).map((lengths, index) => tokenConfig({ ...lengths, generator: name, id: index % 7 }));
  const CONFIGS = fc.constantFrom(...configs);

  describe(`the generator ${name}`, () => {
    it("gives its one length to all that it generates, and no more than a connection id may have", () => {
      fc.assert(
        fc.property(CONFIGS, PLACES, REGIONS, NONCES, (config, place, region, nonce) => {
          const generator = createGenerator(config);
          const bytes = generator.generate(
            serverIdAt(config, place),
            region,
            nonce.slice(0, config.nonceBytes),
          );
          expect(bytes).toHaveLength(generator.length);
          expect(generator.length >= 1 && generator.length <= 20).toBe(true);
        }),
      );
    });

    it("parses all that it generates, in every layout", () => {
      fc.assert(
        fc.property(PLACES, REGIONS, NONCES, (place, region, nonce) => {
          for (const config of configs) {
            const generator = createGenerator(config);
            for (const serverId of [0, serverIdAt(config, place), serverIdSpace(config) - 1]) {
              const bytes = generator.generate(serverId, region, nonce.slice(0, config.nonceBytes));
              const told = name === "regional" ? regionOctet(region) : 0;
              expect(generator.parse(bytes)).toEqual({ serverId, region: told });
            }
          }
        }),
        { numRuns: 10 },
      );
    });

    it("generates other bytes under another nonce, of which the server id takes no notice", () => {
      fc.assert(
        fc.property(CONFIGS, PLACES, REGIONS, NONCES, fc.nat(17), (config, place, region, nonce, at) => {
          const generator = createGenerator(config);
          const serverId = serverIdAt(config, place);
          const one = nonce.slice(0, config.nonceBytes);
          const other = one.with(at % config.nonceBytes, (one[at % config.nonceBytes] ?? 0) ^ 1);
          const [first, second] = [one, other].map((used) => generator.generate(serverId, region, used));
          expect(first).not.toEqual(second);
          expect(first && generator.parse(first)).toEqual(second && generator.parse(second));
        }),
      );
    });

    it("depends on nothing but its arguments, and leaves them as they are", () => {
      fc.assert(
        fc.property(CONFIGS, PLACES, REGIONS, NONCES, (config, place, region, nonce) => {
          const used = nonce.slice(0, config.nonceBytes);
          const serverId = serverIdAt(config, place);
          const bytes = createGenerator(config).generate(serverId, region, used);
          const generator = createGenerator(config);
          generator.generate(0, null, new Uint8Array(config.nonceBytes));
          expect(generator.generate(serverId, region, used)).toEqual(bytes);
          expect(used).toEqual(nonce.slice(0, config.nonceBytes));
          const copy = bytes.slice();
          generator.parse(bytes);
          expect(bytes).toEqual(copy);
        }),
      );
    });

    it("names the configuration in the first three bits", () => {
      fc.assert(
        fc.property(CONFIGS, fc.nat(6), NONCES, (config, id, nonce) => {
          const generator = createGenerator({ ...config, id });
          const [first = 0] = generator.generate(0, null, nonce.slice(0, config.nonceBytes));
          expect(first >> 5).toBe(id);
        }),
      );
    });

    it("parses nothing of another length or another configuration", () => {
      fc.assert(
        fc.property(
          CONFIGS,
          PLACES,
          NONCES,
          fc.nat(30),
          fc.integer({ min: 1, max: 7 }),
          (config, place, nonce, length, other) => {
            const generator = createGenerator(config);
            const bytes = generator.generate(
              serverIdAt(config, place),
              null,
              nonce.slice(0, config.nonceBytes),
            );
            const resized = new Uint8Array(length === bytes.length ? length + 1 : length);
            resized.set(bytes.subarray(0, resized.length));
            expect(generator.parse(resized)).toBeNull();
            expect(generator.parse(bytes.with(0, (bytes[0] ?? 0) ^ (other << 5)))).toBeNull();
            expect(generator.parse(bytes.with(0, (bytes[0] ?? 0) ^ other))).toBeNull();
          },
        ),
      );
    });

    it("takes any bytes without an exception, and names no backend that cannot be", () => {
      fc.assert(
        fc.property(CONFIGS, fc.uint8Array({ maxLength: 25 }), (config, bytes) => {
          const first = (config.id << 5) | (config.serverIdBytes + config.nonceBytes);
          const generator = createGenerator(config);
          for (const tried of [bytes, bytes.length === 0 ? bytes : bytes.with(0, first)]) {
            const serverId = generator.parse(tried)?.serverId ?? 0;
            expect(serverId >= 0 && serverId < serverIdSpace(config)).toBe(true);
          }
        }),
      );
    });

    it("refuses to name a backend that there is no room for, or to do it with too short a nonce", () => {
      for (const config of configs) {
        const generator = createGenerator(config);
        const nonce = new Uint8Array(config.nonceBytes);
        expect(() => generator.generate(serverIdSpace(config), null, nonce)).toThrow("must be");
        expect(() => generator.generate(0, null, nonce.subarray(1))).toThrow("must have");
      }
    });
  });
}
