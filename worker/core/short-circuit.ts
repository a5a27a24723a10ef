import type { HealthCheck } from "../../durable/model/health.ts";
import { blameOf, isGatewayFailure, type Outcome } from "../../durable/model/outcome.ts";
import { after, type EpochMs } from "../../durable/model/time.ts";

/** When an isolate skips a backend by itself, as the pool's configuration has it. */
export type ShortCircuitRules = HealthCheck["local"];

/**
 * What one isolate does by itself about a backend that fails, before the ring can know: after so many failures in a row it
 * is skipped for a short time; then one request tries it, and skips it for twice as long if it fails, or closes the circuit.
 */
export class ShortCircuit {
  #rules: ShortCircuitRules;
  #connectFailures = 0;
  #gatewayErrors = 0;
  /** How long it was skipped last, milliseconds; 0: it is not on trial. */
  #skipMs = 0;
  #untilMs: EpochMs | null = null;
  #isTrying = false;

  constructor(rules: ShortCircuitRules) {
    this.#rules = rules;
  }

  /** Whether the backend failed lately and has not made up for it. */
  get isOpen(): boolean {
    return this.#untilMs !== null;
  }

  configure(rules: ShortCircuitRules): void {
    this.#rules = rules;
  }

  /** Whether a request has to go elsewhere: the time is not up, or another one is trying. */
  isSkipping(nowMs: EpochMs): boolean {
    return this.#untilMs !== null && (nowMs < this.#untilMs || this.#isTrying);
  }

  /** An attempt begins; when the time is up it is the one that tries. */
  begin(nowMs: EpochMs): void {
    if (this.#untilMs !== null && nowMs >= this.#untilMs) this.#isTrying = true;
  }

  /** Learns what became of an attempt. True when the backend is skipped from now on. */
  observe(outcome: Outcome, nowMs: EpochMs): boolean {
    if (blameOf(outcome) === "none") {
      this.#isTrying = false;
      return false;
    }
    if (!isGatewayFailure(outcome)) {
      this.#close();
      return false;
    }
    this.#gatewayErrors++;
    this.#connectFailures = outcome === "unreachable" ? this.#connectFailures + 1 : 0;
    // What began before it was skipped, and fails only now, is no news.
    if (this.#untilMs !== null && !this.#isTrying) return false;
    return (this.#isTrying || this.#isTooMuch()) && this.#open(nowMs);
  }

  #isTooMuch(): boolean {
    const { connectFailures, gatewayErrors } = this.#rules;
    return (
      (connectFailures > 0 && this.#connectFailures >= connectFailures) ||
      (gatewayErrors > 0 && this.#gatewayErrors >= gatewayErrors)
    );
  }

  #open(nowMs: EpochMs): true {
    const { minSkipMs, maxSkipMs } = this.#rules;
    this.#skipMs = Math.min(this.#skipMs === 0 ? minSkipMs : 2 * this.#skipMs, maxSkipMs);
    this.#untilMs = after(nowMs, this.#skipMs);
    this.#isTrying = false;
    return true;
  }

  #close(): void {
    this.#connectFailures = 0;
    this.#gatewayErrors = 0;
    this.#skipMs = 0;
    this.#untilMs = null;
    this.#isTrying = false;
  }
}
