/**
 * What became of one attempt at a backend. `answered`: a response below 500. `deliberate_error`: a 5xx that the pool does
 * not hold against its backends. `server_error`: one that it does. `gateway_error`: one that it does, of 502, 503 and 504.
 * `unreachable`: no answer, by exception or by a 52x, 530 or `error code: 1003` of the platform. `timed_out`: no response
 * headers in time. `client_gone`: the client left first, broke off its upload
 * or stopped sending it, or may have done so: no answer came to one of unknown length. `outrun`: given up before its time, since another backend, asked as
 * well, was quicker, or the request's total time left it too little. These two blame nobody. `cut`: its answer broke off, or fell silent
 * for too long, after the headers; counted beside the outcome that these had.
 */
export const OUTCOMES = [
  "answered",
  "deliberate_error",
  "server_error",
  "gateway_error",
  "unreachable",
  "timed_out",
  "client_gone",
  "outrun",
  "cut",
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** What an outcome says of its backend: well, ill, or nothing. */
export type Blame = "success" | "failure" | "none";

/** Whom an outcome blames. */
export function blameOf(outcome: Outcome): Blame {
  switch (outcome) {
    case "answered":
    case "deliberate_error":
      return "success";
    case "server_error":
    case "gateway_error":
    case "unreachable":
    case "timed_out":
    case "cut":
      return "failure";
    case "client_gone":
    case "outrun":
      return "none";
  }
}

/** Whether an outcome is the failure of a connection or a gateway, rather than of the application. */
export function isGatewayFailure(outcome: Outcome): boolean {
  return (
    outcome === "gateway_error" || outcome === "unreachable" || outcome === "timed_out" || outcome === "cut"
  );
}

/**
 * A request that reached no backend, or was served in need. `no_backend`: none admits it. `degraded`: served from a
 * snapshot past its lease. `loop`: refused because it had passed here before. `session_refused`: its session's backend is
 * lost, and the pool would rather refuse it than move it. `migration`: a connection came from another address or colo than
 * before, and stayed where it is. `panic`: a backend was picked whatever its health. `waited`: every backend that would
 * take it had as much in flight as it may, and it waited for room. `full`: it found none. `shed`: turned away on purpose.
 * `fallback`: passed on to the fallback pool, which counts what becomes of it, instead of `no_backend`, `full` or `shed`.
 * `retry`: tried again elsewhere. `retry_denied`: it would have been, but the budget was spent. `hedge`: another backend was
 * asked as well, because the first was slow. `hedge_denied`: it would have been, but the budget of hedges was spent.
 */
export const INCIDENTS = [
  "no_backend",
  "degraded",
  "loop",
  "session_refused",
  "migration",
  "panic",
  "waited",
  "full",
  "shed",
  "fallback",
  "retry",
  "retry_denied",
  "hedge",
  "hedge_denied",
] as const;
export type Incident = (typeof INCIDENTS)[number];

/**
 * What became of the session that a request's token names. `kept`: served by its backend. Moved by: `drained` (past its
 * deadline, or disabled), `ejected` (taken out by failures), `removed`, `repinned` (too old, or too many requests). Not
 * readable: `invalid` (altered, or not ours), `expired`, `unknown` (of keys, or a
 * backend, that are not known here yet).
 */
export const SESSION_FATES = [
  "kept",
  "drained",
  "ejected",
  "removed",
  "repinned",
  "invalid",
  "expired",
  "unknown",
] as const;
export type SessionFate = (typeof SESSION_FATES)[number];

/** Protocols a client may have spoken, as `request.cf.httpProtocol` names them; anything else is `other`. */
export const PROTOCOLS = ["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3", "other"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** A count for every word of a list. */
export type Counts<Word extends string> = Record<Word, number>;

/** Every word at zero. */
export function zeros<const Words extends readonly string[]>(words: Words): Counts<Words[number]> {
  return Object.fromEntries(words.map((word) => [word, 0])) as Counts<Words[number]>;
}
