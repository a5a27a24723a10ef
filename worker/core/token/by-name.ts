import type { TokenConfig } from "../../../durable/model/snapshot.ts";
import { Encrypted } from "./encrypted.ts";
import type { TokenGenerator } from "./generator.ts";
import { Plaintext } from "./plaintext.ts";
import { Regional } from "./regional.ts";

/** Creates the generator that a configuration names. */
export function createGenerator(config: TokenConfig): TokenGenerator {
  switch (config.generator) {
    case "encrypted":
      return new Encrypted(config);
    case "plaintext":
      return new Plaintext(config);
    case "regional":
      return new Regional(config);
  }
}
