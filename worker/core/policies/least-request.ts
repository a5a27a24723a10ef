import { type GaugedPreparation, gauged } from "./gauged.ts";
import type { Gauge } from "./policy.ts";
import { TwoChoices } from "./two-choices.ts";

/** Of two choices the one with fewer requests in flight for its weight, this one included. */
export class LeastRequest extends TwoChoices {
  static prepare(preparation: GaugedPreparation): LeastRequest {
    return new LeastRequest(gauged(preparation), requests);
  }
}

function requests({ inFlight }: Gauge): number {
  return inFlight + 1;
}
