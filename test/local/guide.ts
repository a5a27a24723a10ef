import { SPARE_ID } from "./samples.ts";
import { LOCAL_REFRESH_MS, type LocalPool, type LocalRoute } from "./set-up.ts";

/** What the printed text speaks of. */
export interface GuideFacts {
  readonly url: string;
  readonly token: string;
  readonly pool: LocalPool;
  /** What became of the pool that an earlier run left; null: there was none. */
  readonly kept: KeptFacts | null;
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

/**
 * Something to try: what it shows, and the command. A zsh knows no comments at its prompt, so what it shows is told without
 * characters that a shell acts upon.
 */
interface Step {
  readonly shows: string;
  readonly command: string;
  /** The route that the command goes through. Default none. */
  readonly through?: LocalRoute;
}

function heading({ url, token, pool, kept, persist, readyMs }: GuideFacts): string {
  const backends = pool.backends.map(({ id, url: at, weight }) => `${id} at ${at} (weight ${weight})`);
  const lines = kept === null ? backends : [...backends, takenOver(kept)];
  const route = (id: LocalRoute, text: string): string =>
    pool.routes.includes(id)
      ? text
      : "deleted or changed in an earlier run, so what was to try there is left out";
  return `Ringmaster is ready at ${url} after ${(readyMs / 1_000).toFixed(1)} s.

  pool default   ${lines.join("\n                 ")}
  /sticky        ${route("sticky", STICKY)}
  /session       ${route("session", "sticky per session, by a token in a cookie")}
  anything else  ${route("everything", "round robin per request")}
  admin token    ${token} (an operator's; ${persist === null ? "every run has another" : "kept in the folder"})
  state          ${persist === null ? "in a temporary folder, removed at the end" : `kept in ${persist}`}

Paste these into another terminal. Here a change shows within ${LOCAL_REFRESH_MS} ms and one request, since this pool asks the ring
that often; the default is 5 s.
`;
}

const STICKY = `sticky per connection, where something names the connection: here only the header MF-CF-Blob
                 with a tlsClientRandom does, and without it requests go round robin; /sticky is cut off on the way`;

function takenOver({ hasOwn, samples }: KeptFacts): string {
  if (hasOwn) return "kept from an earlier run; the backends of this run were put right in it";
  return samples.length === 0
    ? "kept from an earlier run as it was; no samples were added"
    : `kept from an earlier run; of the samples ${samples.join(", ")} run for it`;
}

function steps({ url, token, pool, spareUrl }: GuideFacts): readonly Step[] {
  const admin = (method: string, path: string, body?: object): string =>
    [
      "curl -sS -w '\\n'",
      ...(method === "GET" ? [] : [`-X ${method}`]),
      `-H 'Authorization: Bearer ${token}'`,
      `'${url}/_ring${path}'`,
      ...(body === undefined ? [] : [`-d '${JSON.stringify(body)}'`]),
    ].join(" ");
  const spare = `/pools/default/backends/${SPARE_ID}`;
  const turns = `curl -sS '${url}/hello?[1-6]'`;
  // The first request makes the isolate ask for changes and tell what it counted; a second later that is done.
  const synced = `sleep 1; curl -sS -o /dev/null '${url}/hello'; sleep 1;`;
  const status = admin("GET", "/pools/default/status");
  const see = (shows: string): Step => ({ shows, command: `${synced} ${turns}`, through: "everything" });
  const all: readonly Step[] = [
    {
      shows: "Round robin: six requests over one connection, by turns.",
      command: turns,
      through: "everything",
    },
    {
      shows:
        "Sticky: six requests of one connection. At the edge its TLS handshake names it.\nHere only this header does, and without it they go round robin.",
      command: `curl -sS -H 'MF-CF-Blob: {"tlsClientRandom":"one"}' '${url}/sticky/hello?[1-6]'`,
      through: "sticky",
    },
    {
      shows: "Sticky: six connections, each with its own backend. Several may share one.",
      command: `for name in 1 2 3 4 5 6; do curl -sS -H 'MF-CF-Blob: {"tlsClientRandom":"'$name'"}' '${url}/sticky/connection-'$name; done`,
      through: "sticky",
    },
    {
      shows: "Session: the first answer sets a cookie, and the other five requests carry it.",
      command: `curl -sS -b '' '${url}/session/hello?[1-6]'`,
      through: "session",
    },
    {
      shows:
        "Status: who admits what, in-flight requests, outcomes, and how far the last change has come.\nCounts come a few seconds late, with the next request, so one goes first.",
      command: pool.routes.includes("everything") ? `${synced} ${status}` : status,
    },
    {
      shows: `Add a backend. It already runs, and is called ${SPARE_ID}.`,
      command: admin("PUT", spare, { url: spareUrl }),
    },
    see(
      `See it: ${SPARE_ID} has its turns. A request goes first, behind which the balancer hears of the change.`,
    ),
    {
      shows: `Weigh: ${SPARE_ID} takes three turns where a backend of weight 1 takes one.`,
      command: admin("PATCH", spare, { weight: 3 }),
    },
    see(
      "See it: three turns of six, where the others are a, b and c.\nFree turns make up for sticky ones, so at first it may be two or four.",
    ),
    {
      shows: `Drain: ${SPARE_ID} gets nothing new, and the connections it has stay for 5 minutes. With forMs 0 they do not.`,
      command: admin("POST", `${spare}/drain`),
    },
    see(`See it: ${SPARE_ID} has no turns.`),
    {
      shows: "Undrain.",
      command: admin("POST", `${spare}/undrain`),
    },
    {
      shows: "Drain for 5 s only.",
      command: admin("POST", `${spare}/drain`, { forMs: 5_000 }),
    },
    {
      shows: `Receipt: waits until nothing more is sent to ${SPARE_ID} and says that it is safe to stop, here in less than a minute.`,
      command: admin("GET", `${spare}/receipt?wait=60s`),
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
  return all.filter(({ through }) => through === undefined || pool.routes.includes(through));
}

function render({ shows, command }: Step): string {
  return `# ${shows.replaceAll("\n", "\n# ")}\n${command}\n`;
}
