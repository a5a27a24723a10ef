import { SPARE_ID } from "./samples.ts";
import { LOCAL_REFRESH_MS, type LocalPool } from "./set-up.ts";

/** What the printed text speaks of. */
export interface GuideFacts {
  readonly url: string;
  readonly token: string;
  readonly pool: LocalPool;
  /** What became of the pool that an earlier run left; null: there was none. */
  readonly kept: KeptFacts | null;
  /** Id of the backend that the commands try things on. */
  readonly tried: string;
  readonly spareUrl: string;
  /** Null: a temporary folder. */
  readonly persist: string | null;
  readonly readyMs: number;
}

/** How this run took a pool over. */
export interface KeptFacts {
  /** Whether the command line names backends. */
  readonly hasOwn: boolean;
  /** Ids of the samples that run for it. */
  readonly samples: readonly string[];
}

/** What `npm start` prints once it is ready: what runs, and commands to paste. */
export function guide(facts: GuideFacts): string {
  return [heading(facts), ...steps(facts).map(render), "# Ctrl-C here stops everything."].join("\n");
}

/** Something to try: what it shows, and the command. */
interface Step {
  readonly shows: string;
  readonly command: string;
}

function heading({ url, token, pool, kept, persist, readyMs }: GuideFacts): string {
  const backends = pool.backends.map(({ id, url: at, weight }) => `${id} at ${at} (weight ${weight})`);
  const lines = kept === null ? backends : [...backends, takenOver(kept)];
  const routes =
    kept !== null
      ? ["  routes         kept from an earlier run, like the pool; the last command lists them"]
      : [
          "  /sticky        sticky per connection; /sticky itself is cut off on the way",
          "  /session       sticky per session, by a token in a cookie",
          "  anything else  round robin per request",
        ];
  return `Ringmaster is ready at ${url} after ${(readyMs / 1_000).toFixed(1)} s.

  pool default   ${lines.join("\n                 ")}
${routes.join("\n")}
  admin token    ${token} (an operator's; ${persist === null ? "every run has another" : "kept in the folder"})
  state          ${persist === null ? "in a temporary folder, removed at the end" : `kept in ${persist}`}

Paste these into another terminal. Here a change shows within ${LOCAL_REFRESH_MS} ms and one request, since this pool asks the ring
that often; the default is 5 s.
`;
}

function takenOver({ hasOwn, samples }: KeptFacts): string {
  if (hasOwn) return "kept from an earlier run; the backends of this run were put right in it";
  return samples.length === 0
    ? "kept from an earlier run as it was; no samples were added"
    : `kept from an earlier run; of the samples ${samples.join(", ")} run for it`;
}

function steps({ url, token, tried, spareUrl }: GuideFacts): readonly Step[] {
  const admin = (method: string, path: string, body?: object): string =>
    [
      "curl -sS -w '\\n'",
      ...(method === "GET" ? [] : [`-X ${method}`]),
      `-H 'Authorization: Bearer ${token}'`,
      `${url}/_ring${path}`,
      ...(body === undefined ? [] : [`-d '${JSON.stringify(body)}'`]),
    ].join(" ");
  const backend = `/pools/default/backends/${tried}`;
  const spare = `/pools/default/backends/${SPARE_ID}`;
  return [
    {
      shows: "Round robin: six requests over one connection, each to the next backend.",
      command: `curl -sS '${url}/hello?[1-6]'`,
    },
    {
      shows:
        "Sticky: six requests of one connection. At the edge its TLS handshake names it, here a header does.",
      command: `curl -sS -H 'MF-CF-Blob: {"tlsClientRandom":"one"}' '${url}/sticky/hello?[1-6]'`,
    },
    {
      shows: "Sticky: other connections, other backends.",
      command: `for name in 1 2 3 4 5 6; do curl -sS -H 'MF-CF-Blob: {"tlsClientRandom":"'$name'"}' ${url}/sticky/connection-$name; done`,
    },
    {
      shows: "Session: the first answer sets a cookie, and the other five requests carry it.",
      command: `curl -sS -b '' '${url}/session/hello?[1-6]'`,
    },
    {
      shows: "Status: who admits what, in-flight requests, outcomes, and how far the last change has come.",
      command: admin("GET", "/pools/default/status"),
    },
    {
      shows: `Add a backend; ${SPARE_ID} already runs.`,
      command: admin("PUT", spare, { url: spareUrl }),
    },
    {
      shows: `Weigh: ${tried} takes three turns where a backend of weight 1 takes one.`,
      command: admin("PATCH", backend, { weight: 3 }),
    },
    {
      shows: `Drain: ${tried} gets nothing new; the connections it has stay for 5 minutes. -d '{"forMs":0}': not at all.`,
      command: admin("POST", `${backend}/drain`),
    },
    {
      shows: "Undrain.",
      command: admin("POST", `${backend}/undrain`),
    },
    {
      shows: `Remove ${SPARE_ID}.`,
      command: admin("DELETE", spare),
    },
    {
      shows: "List routes.",
      command: admin("GET", "/routes"),
    },
  ];
}

function render({ shows, command }: Step): string {
  return `# ${shows}\n${command}\n`;
}
