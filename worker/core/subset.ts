import type { Subset } from "../../durable/model/route.ts";
import type { SnapshotBackend } from "../../durable/model/snapshot.ts";

/** What a request asks of the backends that may serve it, by its route. */
export interface WantedSubset {
  readonly label: string;
  /** The value the label has to have, in lower case; null: the request does not say. */
  readonly value: string | null;
  readonly fallback: Subset["fallback"];
}

/** What of a request a subset looks at. */
export interface Origin {
  readonly headers: { get(name: string): string | null };
  readonly country: string | null;
  readonly colo: string | null;
}

/** What a route's subset comes to for one request. */
export function wantedSubset(subset: Subset, origin: Origin): WantedSubset {
  const { label, fallback } = subset;
  const value = valueOf(subset, origin);
  return { label, value: value === null || value === "" ? null : value.toLowerCase(), fallback };
}

function valueOf(subset: Subset, { headers, country, colo }: Origin): string | null {
  switch (subset.by) {
    case "header":
      return headers.get(subset.name);
    case "country":
      return country;
    case "colo":
      return colo;
  }
}

/** Whether a backend is one that a request asks for. */
export function isInSubset({ labels }: SnapshotBackend, label: string, value: string): boolean {
  return Object.hasOwn(labels, label) && labels[label]?.toLowerCase() === value;
}
