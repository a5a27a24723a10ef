import type { HealthCheck } from "../../durable/model/health-check.ts";
import { blameOf, isGatewayFailure, type Outcome } from "../../durable/model/outcome.ts";
import type { EpochMs } from "../../durable/model/time.ts";

/** When an isolate skips a backend by itself, as the pool's configuration has it. */
export type ShortCircuitRules = HealthCheck["local"];

/**
 * A backend that hangs has been silent for this share of an attempt's wait, and not for all of it, as answers under way when the
 * attempt began may have come after that.
 */
const SILENT_SHARE = 0.75;

/** When an attempt took place, and what its failure may say. */
export interface Span {
  readonly beganMs: EpochMs;
  readonly nowMs: EpochMs;
  /** Whether the backend had no body to wait for, and the request had not failed elsewhere. */
  readonly isUnhindered: boolean;
  /** How many other attempts wait for its headers at the end. */
  readonly othersWaiting: number;
}

/**
 * What one isolate does by itself about a backend that fails, before the ring can know: after so many failures in a row it
 * is skipped for a short time; then one request tries it, and skips it for twice as long if it fails, or closes the circuit.
 *
 * A backend that let an attempt run into its deadline, answered no other meanwhile and lets others wait as well, hangs. It is
 * skipped for the longest time at once, since whoever tried it would wait for as long again. An attempt that waited alone may
 * have asked for something that nobody could give in time: then the backend is only suspected. It is skipped by what may go
 * anywhere, so that nobody else waits for it; what is bound there goes on, until that fails as well.
 */
export class ShortCircuit {
  #rules: ShortCircuitRules;
  #connectFailures = 0;
  #gatewayErrors = 0;
  /** How long it was skipped last, milliseconds; 0: it is not on trial. */
  #skipMs = 0;
  #openedMs: EpochMs | null = null;
  /** When the request began that tries it; null: none does. */
  #triedMs: EpochMs | null = null;
  /** It is skipped for one attempt that waited alone. */
  #isSuspicion = false;
  /** When it last answered anything; null: never. */
  #answeredMs: EpochMs | null = null;

  constructor(rules: ShortCircuitRules) {
    this.#rules = rules;
  }

  /** Whether the backend failed lately and has not made up for it. */
  get isOpen(): boolean {
    return this.#openedMs !== null;
  }

  /** Whether it is open, and only for one attempt that waited alone. */
  get isSuspicion(): boolean {
    return this.isOpen && this.#isSuspicion;
  }

  configure(rules: ShortCircuitRules): void {
    this.#rules = rules;
    if (rules.connectFailures === 0 && rules.gatewayErrors === 0) this.close();
  }

  /** Whether a request that may go elsewhere has to: the time is not up, or another one is trying, which may take so long again. */
  isSkipping(nowMs: EpochMs): boolean {
    if (this.#openedMs === null) return false;
    const { maxSkipMs } = this.#rules;
    return !this.#isTimeUp(nowMs) || (this.#triedMs !== null && nowMs - this.#triedMs < maxSkipMs);
  }

  /** An attempt begins; when the time is up it is the one that tries. */
  begin(nowMs: EpochMs): void {
    if (this.#isTimeUp(nowMs)) this.#triedMs = nowMs;
  }

  /** Learns what became of an attempt. True when the backend is skipped, or suspected, from now on. */
  observe(outcome: Outcome, span: Span): boolean {
    const { beganMs, nowMs } = span;
    if (isAnswer(outcome)) this.#answeredMs = nowMs;
    // What began before it was skipped, and ends only now, is no news.
    if (this.#openedMs !== null && beganMs <= this.#openedMs) return false;
    if (blameOf(outcome) === "none") {
      this.#triedMs = null;
      return false;
    }
    if (!isGatewayFailure(outcome)) {
      this.close();
      return false;
    }
    this.#gatewayErrors++;
    if (outcome === "unreachable") this.#connectFailures++;
    // What broke off was connected long before, so it says nothing of connecting now.
    else if (outcome !== "cut") this.#connectFailures = 0;
    const isTrial = this.#triedMs !== null;
    const hangs = outcome === "timed_out" && this.#hangs(span);
    const wasSuspicion = this.isSuspicion;
    this.#isSuspicion = hangs && span.othersWaiting <= 0 && !this.isOpen && !this.#isTooMuch();
    const mustOpen = this.isOpen ? isTrial || wasSuspicion : hangs || this.#isTooMuch();
    return mustOpen && this.#open(nowMs, hangs || wasSuspicion);
  }

  /** Forgets everything: it is as good as new. */
  close(): void {
    this.#connectFailures = 0;
    this.#gatewayErrors = 0;
    this.#skipMs = 0;
    this.#openedMs = null;
    this.#triedMs = null;
  }

  #hangs({ beganMs, nowMs, isUnhindered }: Span): boolean {
    if (!isUnhindered || this.#rules.gatewayErrors === 0) return false;
    return this.#answeredMs === null || nowMs - this.#answeredMs >= SILENT_SHARE * (nowMs - beganMs);
  }

  #isTimeUp(nowMs: EpochMs): boolean {
    return this.#openedMs !== null && nowMs - this.#openedMs >= this.#skipMs;
  }

  #isTooMuch(): boolean {
    const { connectFailures, gatewayErrors } = this.#rules;
    return (
      (connectFailures > 0 && this.#connectFailures >= connectFailures) ||
      (gatewayErrors > 0 && this.#gatewayErrors >= gatewayErrors)
    );
  }

  #open(nowMs: EpochMs, hangs: boolean): true {
    const { minSkipMs, maxSkipMs } = this.#rules;
    const longerMs = this.#skipMs === 0 ? minSkipMs : 2 * this.#skipMs;
    this.#skipMs = hangs ? maxSkipMs : Math.min(longerMs, maxSkipMs);
    this.#openedMs = nowMs;
    this.#triedMs = null;
    return true;
  }
}

/** Whether a response came of an attempt. */
function isAnswer(outcome: Outcome): boolean {
  return blameOf(outcome) === "success" || outcome === "server_error" || outcome === "gateway_error";
}
