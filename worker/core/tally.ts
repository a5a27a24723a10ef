import {
  type Counts,
  INCIDENTS,
  type Incident,
  PROTOCOLS,
  type Protocol,
  SESSION_FATES,
  type SessionFate,
  zeros,
} from "../../durable/model/outcome.ts";
import type { BackendReport, Report } from "../../durable/model/sync.ts";
import { type EpochMs, earliest } from "../../durable/model/time.ts";
import type { SubChannel, Taken } from "./sub-channel.ts";

/** A report that is on its way, and when the first of it happened. */
interface Sent {
  readonly report: Omit<Report, "ageMs" | "backends">;
  readonly backends: readonly Taken[];
  readonly sinceMs: EpochMs;
}

/**
 * Folds what happened in a pool into reports. A report is resent, unchanged and under its number, until the ring has
 * acknowledged it, so nothing is lost and nothing counted twice; what happens meanwhile waits for the next one.
 */
export class Tally {
  #protocols: Counts<Protocol> = zeros(PROTOCOLS);
  #incidents: Counts<Incident> = zeros(INCIDENTS);
  #sessions: Counts<SessionFate> = zeros(SESSION_FATES);
  #sent: Sent | null = null;
  #batch = 0;

  countProtocol(protocol: Protocol): void {
    this.#protocols[protocol]++;
  }

  countIncident(incident: Incident): void {
    this.#incidents[incident]++;
  }

  countSession(fate: SessionFate): void {
    this.#sessions[fate]++;
  }

  /** The report to send now: the one not yet acknowledged, else what was counted since. */
  take(channels: Iterable<SubChannel>, nowMs: EpochMs): Report {
    this.#sent ??= this.#fold(channels, nowMs);
    const { report, backends, sinceMs } = this.#sent;
    return {
      ...report,
      ageMs: age(sinceMs, nowMs),
      backends: backends.map((each) => toReport(each, sinceMs, nowMs)),
    };
  }

  #fold(channels: Iterable<SubChannel>, nowMs: EpochMs): Sent {
    const backends = [...channels].flatMap((channel) => channel.takeReport(nowMs) ?? []);
    const sinceMs = earliest(backends.map((each) => each.sinceMs)) ?? nowMs;
    const report = {
      batch: this.#batch++,
      protocols: this.#protocols,
      incidents: this.#incidents,
      sessions: this.#sessions,
    };
    this.#protocols = zeros(PROTOCOLS);
    this.#incidents = zeros(INCIDENTS);
    this.#sessions = zeros(SESSION_FATES);
    return { report, backends, sinceMs };
  }

  /** The ring has the report of this number. */
  acknowledge(batch: number): void {
    if (this.#sent?.report.batch === batch) this.#sent = null;
  }
}

/** What a sub-channel tells in a report whose first event was at `reportSinceMs`. Ages are those at the time it is sent. */
function toReport(
  { report, sinceMs, announcedMs }: Taken,
  reportSinceMs: EpochMs,
  nowMs: EpochMs,
): BackendReport {
  return { ...report, ageMs: age(sinceMs, nowMs), announcedAfterMs: age(reportSinceMs, announcedMs) };
}

/** The clock of an isolate may step back a little. */
function age(sinceMs: EpochMs, nowMs: EpochMs): number {
  return Math.max(0, nowMs - sinceMs);
}
