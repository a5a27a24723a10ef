import type { PolicyName } from "../../durable/model/pool.ts";
import { TABLE_SIZE } from "./policies/maglev-table.ts";
import type { Candidate } from "./policies/policy.ts";

/** A candidate, with its places in lists and maps: more than any policy has of one. */
const CANDIDATE_BYTES = 200;

/** A point of a ring, and whose it is. */
const POINT_BYTES = 4 + 2;

/** A slot of a maglev table, or a turn of a cycle that is kept. */
const INDEX_BYTES = 2;

/** Of a longer cycle of turns nothing is kept. */
const LONGEST_CYCLE = 2 ** 16;

/** How much memory the picker of a policy takes, bytes: rather more than less, with a cycle as if no weights had a divisor. */
export function pickerBytes(
  policy: PolicyName,
  candidates: readonly Candidate[],
  ringPoints: number,
): number {
  return CANDIDATE_BYTES * candidates.length + tableBytes(policy, candidates, ringPoints);
}

function tableBytes(policy: PolicyName, candidates: readonly Candidate[], ringPoints: number): number {
  switch (policy) {
    case "maglev":
      return INDEX_BYTES * TABLE_SIZE;
    case "ring_hash":
      return POINT_BYTES * ringPoints * candidates.length;
    case "round_robin": {
      const sum = candidates.reduce((all, { weight }) => all + weight, 0);
      return INDEX_BYTES * Math.min(sum, LONGEST_CYCLE);
    }
    case "random":
    case "first":
    case "least_request":
    case "peak_ewma":
    case "rendezvous":
      return 0;
  }
}
