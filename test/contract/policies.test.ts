import { type PolicyName, PolicySchema } from "../../durable/model/pool.ts";
import { describePolicy, type Terms } from "./policy.ts";

const RING_SHARES = {
  of: "keyed requests",
  because: "160 points are uneven by 10 % and more; measured in its own tests",
} as const;

/** What differs from the whole contract. */
const TERMS: Partial<Record<PolicyName, Terms>> = {
  first: { withoutShares: { of: "all requests", because: "it knows an order and no weights" } },
  ring_hash: { withoutShares: RING_SHARES },
};

for (const name of PolicySchema.options) describePolicy(name, TERMS[name]);

for (const name of ["rendezvous", "maglev"] as const) describePolicy(name, { hashBalanceFactor: 125 });
describePolicy("ring_hash", { hashBalanceFactor: 125, withoutShares: RING_SHARES });
