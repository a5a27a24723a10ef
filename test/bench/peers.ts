import ConsistentHash from "consistent-hash";
import HashRing from "hashring";
import type { Candidate } from "../../worker/core/policies/policy.ts";

/** Leads a key's text to a backend, as npm packages do. */
type Lookup = (key: string) => string | null;

/** Points per backend of average weight that `consistent-hash` has by default. */
const POINTS = 40;

/** Prepares another balancer's package for backends by weight. */
export const PEERS: Readonly<Record<string, (candidates: readonly Candidate[]) => Lookup>> = {
  hashring: (candidates) => createHashRing(candidates, {}),
  "hashring, no key twice": (candidates) => createHashRing(candidates, { "max cache size": 1 }),
  "consistent-hash": createConsistentHash,
};

function createHashRing(
  candidates: readonly Candidate[],
  options: { readonly "max cache size"?: number },
): Lookup {
  const weights = Object.fromEntries(candidates.map(({ id, weight }) => [id, weight]));
  const ring = new HashRing(weights, "md5", options);
  return (key) => ring.get(key) ?? null;
}

function createConsistentHash(candidates: readonly Candidate[]): Lookup {
  const sum = candidates.reduce((total, { weight }) => total + weight, 0);
  // It refuses more points than it has places for. The numbers are the ones it recommends.
  const ring = new ConsistentHash({ range: candidates.length > 1_000 ? 1_000_003 : 100_003 });
  for (const { id, weight } of candidates)
    ring.add(id, Math.max(1, Math.round((POINTS * candidates.length * weight) / sum)));
  return (key) => ring.get(key);
}
