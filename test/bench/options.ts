import { parseArgs } from "node:util";
import { Complaint } from "./complaint.ts";
import { REQUEST_KINDS, type RequestKind } from "./requests.ts";

/** What can be compared with the floor. `control` is a second floor: its ratios show how far chance alone goes. */
const VARIANTS = ["round-robin", "sticky", "control"] as const;
export type VariantName = (typeof VARIANTS)[number];

/** Of the tokens alone, which nothing is compared with. */
const TOKENS = "tokens";

/** Of the policies alone, likewise. */
const POLICIES = "policies";

/** Of active health checks, likewise. */
const PROBES = "probes";

/** Of hedging alone, likewise. */
const HEDGING = "hedging";

/** How much is measured, and of what. */
export interface Options {
  /** Pairs of runs, floor and variant, per size and variant. Default 15: fewer tell two equal workers apart by chance. */
  readonly pairs: number;
  /** Length of one run, seconds. Default 2. */
  readonly seconds: number;
  /** Response bodies, bytes. Default 512 and 65536. */
  readonly sizes: readonly number[];
  /** Requests per second of the latency runs. Default 400, a tenth of what saturates the floor. */
  readonly rate: number;
  /** What the workers are given of each request. Default full. */
  readonly requests: RequestKind;
  /** Default round-robin and sticky. */
  readonly only: readonly VariantName[];
  /** Whether reading and issuing tokens is timed. Default true, after the rest. */
  readonly tokens: boolean;
  /** Whether picking and preparing by every policy is timed. Default false. */
  readonly policies: boolean;
  /** Whether it is measured how often a large pool is probed. Default false. */
  readonly probes: boolean;
  /** Whether it is measured what hedging makes of a slow backend. Default false. */
  readonly hedging: boolean;
}

/** How to call the benchmark. */
export const USAGE = `usage: npm run bench -- [options]
  --pairs N       pairs of runs per size and variant, 1…500 (default 15)
  --seconds S     length of one run in whole seconds, 1…60 (default 2)
  --sizes A,B     response bodies in bytes, each 1…16777216 (default 512,65536)
  --rate R        requests per second of the latency runs, 10…2000 (default 400)
  --requests K    what the workers are given of each: ${REQUEST_KINDS.join(" or ")} (default full)
  --only A,B      variants out of ${VARIANTS.join(", ")}, ${TOKENS}, ${POLICIES}, ${PROBES} and ${HEDGING} (default round-robin,sticky,${TOKENS})
  --help          this text`;

/**
 * Reads the command line; null when it asks for help.
 *
 * @throws Complaint naming the option, its value and what it may be.
 */
export function parseOptions(args: readonly string[]): Options | null {
  const given = readArgs(args);
  if (given.help === true) return null;
  const only = parseList("only", given.only ?? `round-robin,sticky,${TOKENS}`);
  return {
    pairs: parseInteger("pairs", given.pairs ?? "15", 1, 500),
    seconds: parseInteger("seconds", given.seconds ?? "2", 1, 60),
    sizes: parseList("sizes", given.sizes ?? "512,65536").map((size) =>
      parseInteger("sizes", size, 1, 16_777_216),
    ),
    rate: parseInteger("rate", given.rate ?? "400", 10, 2_000),
    requests: parseRequests(given.requests ?? "full"),
    only: only.filter((name) => ![TOKENS, POLICIES, PROBES, HEDGING].includes(name)).map(parseVariant),
    tokens: only.includes(TOKENS),
    policies: only.includes(POLICIES),
    probes: only.includes(PROBES),
    hedging: only.includes(HEDGING),
  };
}

function readArgs(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        pairs: { type: "string" },
        seconds: { type: "string" },
        sizes: { type: "string" },
        rate: { type: "string" },
        requests: { type: "string" },
        only: { type: "string" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw new Complaint(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
}

function parseInteger(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new Complaint(`--${name} ${JSON.stringify(text)} must be an integer ${min}…${max}\n${USAGE}`);
  return value;
}

function parseList(name: string, text: string): readonly string[] {
  const items = text.split(",").map((item) => item.trim());
  if (new Set(items).size < items.length)
    throw new Complaint(`--${name} ${JSON.stringify(text)} must not name anything twice\n${USAGE}`);
  return items;
}

function parseVariant(text: string): VariantName {
  const variant = VARIANTS.find((name) => name === text);
  if (variant === undefined)
    throw new Complaint(
      `--only ${JSON.stringify(text)} must be one of ${VARIANTS.join(", ")}, ${TOKENS}, ${POLICIES}, ${PROBES}, ${HEDGING}\n${USAGE}`,
    );
  return variant;
}

function parseRequests(text: string): RequestKind {
  const kind = REQUEST_KINDS.find((name) => name === text);
  if (kind === undefined)
    throw new Complaint(
      `--requests ${JSON.stringify(text)} must be one of ${REQUEST_KINDS.join(", ")}\n${USAGE}`,
    );
  return kind;
}
