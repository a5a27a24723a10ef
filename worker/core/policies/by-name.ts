import type { PolicyName } from "../../../durable/model/pool.ts";
import { First } from "./first.ts";
import { LeastRequest } from "./least-request.ts";
import { Maglev } from "./maglev.ts";
import { PeakEwma } from "./peak-ewma.ts";
import type { Picker, PoolPreparation } from "./policy.ts";
import { Random } from "./random.ts";
import { Rendezvous } from "./rendezvous.ts";
import { RingHash } from "./ring-hash.ts";
import { RoundRobin } from "./round-robin.ts";

/** Prepares the picker of a policy; counters of `previous` go on if it was of the same policy. */
export function preparePicker(name: PolicyName, preparation: PoolPreparation): Picker {
  const { previous } = preparation;
  switch (name) {
    case "round_robin":
      return RoundRobin.prepare({
        ...preparation,
        previous: previous instanceof RoundRobin ? previous : null,
      });
    case "random":
      return Random.prepare(preparation);
    case "first":
      return First.prepare(preparation);
    case "least_request":
      return LeastRequest.prepare(preparation);
    case "peak_ewma":
      return PeakEwma.prepare(preparation);
    case "rendezvous":
      return Rendezvous.prepare({ ...preparation, previous: null });
    case "maglev":
      return Maglev.prepare(preparation);
    case "ring_hash":
      return RingHash.prepare(preparation);
  }
}

/** Whether a policy leads requests by their key. */
export function isHashing(name: PolicyName): boolean {
  return name === "rendezvous" || name === "maglev" || name === "ring_hash";
}
