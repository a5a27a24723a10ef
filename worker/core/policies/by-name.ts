import type { PolicyName } from "../../../durable/model/pool.ts";
import type { Picker, Preparation } from "./policy.ts";
import { Rendezvous } from "./rendezvous.ts";
import { RoundRobin } from "./round-robin.ts";

/** Prepares the picker of a policy; counters of `previous` go on if it was of the same policy. */
export function preparePicker(name: PolicyName, preparation: Preparation<Picker>): Picker {
  const { previous } = preparation;
  switch (name) {
    case "round_robin":
      return RoundRobin.prepare({
        ...preparation,
        previous: previous instanceof RoundRobin ? previous : null,
      });
    case "rendezvous":
      return Rendezvous.prepare({
        ...preparation,
        previous: previous instanceof Rendezvous ? previous : null,
      });
  }
}
