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
import type { Report } from "../../durable/model/sync.ts";
import type { SubChannel } from "./sub-channel.ts";

/**
 * Folds what happened in a pool into reports. A report is resent, unchanged and under its number, until the ring has
 * acknowledged it, so nothing is lost and nothing counted twice; what happens meanwhile waits for the next one.
 */
export class Tally {
  #protocols: Counts<Protocol> = zeros(PROTOCOLS);
  #incidents: Counts<Incident> = zeros(INCIDENTS);
  #sessions: Counts<SessionFate> = zeros(SESSION_FATES);
  #sent: Report | null = null;
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
  take(channels: Iterable<SubChannel>): Report {
    if (this.#sent !== null) return this.#sent;
    const backends = [...channels].flatMap((channel) => {
      const outcomes = channel.takeOutcomes();
      return outcomes === null
        ? []
        : [
            {
              id: channel.id,
              outcomes,
              latencyMs: { success: 0, failure: 0 },
              gatewayRun: { length: 0, isWhole: true },
              announced: null,
            },
          ];
    });
    this.#sent = {
      batch: this.#batch++,
      ageMs: 0,
      backends,
      protocols: this.#protocols,
      incidents: this.#incidents,
      sessions: this.#sessions,
    };
    this.#protocols = zeros(PROTOCOLS);
    this.#incidents = zeros(INCIDENTS);
    this.#sessions = zeros(SESSION_FATES);
    return this.#sent;
  }

  /** The ring has the report of this number. */
  acknowledge(batch: number): void {
    if (this.#sent?.batch === batch) this.#sent = null;
  }
}
