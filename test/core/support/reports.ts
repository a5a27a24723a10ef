import type { Announcement } from "../../../durable/model/health.ts";
import {
  INCIDENTS,
  OUTCOMES,
  type Outcome,
  PROTOCOLS,
  SESSION_FATES,
  zeros,
} from "../../../durable/model/outcome.ts";
import type { BackendReport, Report } from "../../../durable/model/sync.ts";
import { backendId } from "./build.ts";

/** What is said of a backend: outcomes by name, and more. */
export type ToldBackend = Partial<Record<Outcome, number>> & {
  readonly latencyMs?: BackendReport["latencyMs"];
  readonly gatewayRun?: BackendReport["gatewayRun"];
  readonly announced?: Announcement;
  readonly announcedAfterMs?: number;
  readonly skipping?: boolean;
  readonly ageMs?: number;
  readonly sessionSketch?: string;
};

/** One batch of an isolate: `report({ a: { answered: 2, timed_out: 1 } }, { ageMs: 500 })`. */
export function report(
  backends: Readonly<Record<string, ToldBackend>>,
  words: Partial<Omit<Report, "backends">> = {},
): Report {
  return {
    batch: 0,
    ageMs: 0,
    protocols: zeros(PROTOCOLS),
    incidents: zeros(INCIDENTS),
    sessions: zeros(SESSION_FATES),
    ...words,
    backends: Object.entries(backends).map(([id, told]) => backendReport(id, told)),
  };
}

function backendReport(id: string, told: ToldBackend): BackendReport {
  const {
    latencyMs = { success: 0, failure: 0 },
    gatewayRun = { length: 0, isWhole: true },
    announced = null,
    announcedAfterMs = 0,
    skipping = false,
    ageMs,
    sessionSketch,
    ...outcomes
  } = told;
  return {
    id: backendId(id),
    outcomes: { ...zeros(OUTCOMES), ...outcomes },
    latencyMs,
    gatewayRun,
    announced,
    announcedAfterMs,
    skipping,
    ...(ageMs === undefined ? {} : { ageMs }),
    ...(sessionSketch === undefined ? {} : { sessionSketch }),
  };
}
