import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { BackendInputSchema } from "../../durable/model/backend.ts";
import { LIMITS } from "../../durable/model/limits.ts";
import { parse } from "../../durable/model/parse.ts";
import { isBlockedPort } from "./blocked-ports.ts";

const DEFAULT_PORT = 8787;

/** What `npm start -- --help` prints. */
export const HELP = `Runs Ringmaster in local workerd, with sample backends or your own.

  npm start -- [--backend URL [--weight N]]... [--port N] [--persist DIR]

  --backend URL   a backend of yours instead of the samples a, b and c; may be given several times
  --weight N      share of the backend before it, 0…${LIMITS.maxWeight}; default 1
  --port N        where to listen on 127.0.0.1, 0…65535; default ${DEFAULT_PORT}; 0: any free port
  --persist DIR   keeps pools, routes and the admin token in a folder, which one run at a time may use; default: a
                  temporary one, removed at the end
  --help          prints this

A pool found in DIR is kept as it is, but for the backends of this run, which are put right in it; without --backend, only
the samples that it still has are started. Ctrl-C or SIGTERM stops everything.`;

/** A backend named on the command line. */
export interface NamedBackend {
  readonly id: string;
  readonly url: string;
  /** Null: not given. */
  readonly weight: number | null;
}

export interface StartOptions {
  /** None: the samples. */
  readonly backends: readonly NamedBackend[];
  readonly port: number;
  /** Absolute path; null: a temporary folder. */
  readonly persist: string | null;
}

/** What a command line asks for, or what is wrong with it. */
export type Asked =
  | { readonly kind: "start"; readonly options: StartOptions }
  | { readonly kind: "help" }
  | { readonly kind: "wrong"; readonly problem: string };

/** What npm tells a script in its environment about options that it took for its own. */
type NpmVariables = Readonly<Record<string, string | undefined>>;

/** Parses what follows `npm start --`. */
export function parseOptions(args: readonly string[], variables: NpmVariables = {}): Asked {
  const swallowed = OPTIONS.filter((name) => variables[`npm_config_${name}`] !== undefined);
  if (swallowed.length > 0) {
    return wrong(`npm took ${swallowed.map((name) => `--${name}`).join(" and ")} for its own:`, AFTER_DASHES);
  }
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: {
      backend: { type: "string", multiple: true },
      weight: { type: "string", multiple: true },
      port: { type: "string" },
      persist: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (tokens.some((token) => token.kind === "option" && token.name === "help")) return { kind: "help" };
  let options: StartOptions = { backends: [], port: DEFAULT_PORT, persist: null };
  const given = new Set<string>();
  for (const token of tokens) {
    if (token.kind === "positional") return wrong(quote(token.value), `is no option; ${AFTER_DASHES}`);
    if (token.kind === "option-terminator") return wrong("--", UNKNOWN);
    const isRepeated = ONCE.includes(token.name) && given.has(token.name);
    const next = isRepeated ? "must be given once" : withOption(options, token.name, token.value);
    if (typeof next === "string") {
      const shown = token.value === undefined ? token.rawName : `${token.rawName} ${quote(token.value)}`;
      return wrong(shown, next);
    }
    given.add(token.name);
    options = next;
  }
  return { kind: "start", options };
}

const ONCE: readonly string[] = ["port", "persist"];

const OPTIONS = ["backend", "weight", ...ONCE];

const AFTER_DASHES = "options come after --, as in: npm start -- --port 0";

const UNKNOWN = "is not known; known: --backend, --weight, --port, --persist, --help";

/** The options with one more, or what speaks against it. */
function withOption(options: StartOptions, name: string, value = ""): StartOptions | string {
  switch (name) {
    case "backend":
      return withBackend(options, value);
    case "weight":
      return withWeight(options, value);
    case "port": {
      const port = integer(value, 65_535);
      if (port === null) return "must be an integer 0…65535";
      if (isBlockedPort(port)) return BLOCKED;
      return { ...options, port };
    }
    case "persist":
      return value === "" ? "must be a folder" : { ...options, persist: resolve(value) };
    default:
      return UNKNOWN;
  }
}

const BLOCKED =
  "is kept for another protocol, and browsers and Node's fetch refuse to open it; choose another one, 0…65535";

function withBackend(options: StartOptions, value: string): StartOptions | string {
  const parsed = parse(BackendInputSchema, { url: value });
  if (!parsed.ok) return parsed.refusal.kind === "invalid" ? parsed.refusal.errors[0].range : "is wrong";
  const { url } = parsed.value;
  const id = idOf(url);
  if (options.backends.some((backend) => backend.id === id)) {
    return "must differ from the others in host, port or path";
  }
  return { ...options, backends: [...options.backends, { id, url, weight: null }] };
}

function withWeight(options: StartOptions, value: string): StartOptions | string {
  const weight = integer(value, LIMITS.maxWeight);
  if (weight === null) return `must be an integer 0…${LIMITS.maxWeight}`;
  const last = options.backends.at(-1);
  if (last === undefined) return "must follow the --backend that it is for";
  if (last.weight !== null)
    return `must be given once for a backend, and ${last.url} already has ${last.weight}`;
  return { ...options, backends: [...options.backends.slice(0, -1), { ...last, weight }] };
}

/** A stable id made of host, port and path: `http://localhost:3000` is `localhost-3000` in every run. */
function idOf(url: string): string {
  const { protocol, hostname, port, pathname } = new URL(url);
  return `${hostname}-${port || (protocol === "https:" ? 443 : 80)}${pathname}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .slice(0, 63)
    .replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, "");
}

function integer(text: string, max: number): number | null {
  return /^\d{1,9}$/.test(text) && Number(text) <= max ? Number(text) : null;
}

function wrong(what: string, problem: string): Asked {
  return { kind: "wrong", problem: `${what} ${problem}` };
}

function quote(text: string): string {
  return JSON.stringify(text);
}
