import type { Affinity } from "../../durable/model/pool.ts";
import { cookieValues } from "./cookie.ts";
import { type Connection, networkOf } from "./identify.ts";

/** What of a request may bind it to a backend, besides its token. */
export interface Credentials {
  readonly headers: { get(name: string): string | null };
  /** With its `?`; empty when there is none. */
  readonly query: string;
  readonly clientAddress: string | null;
  /** Null when nothing names the client's connection. */
  readonly connection: Connection | null;
}

type Step = Affinity[number];

/** A step of the chain that hashes a value of the request. */
export type HashedStep = Extract<Step, { readonly by: "header" | "cookie" | "query" | "address" }>;

/** Whether a chain binds requests by tokens. */
export function usesTokens(affinity: Affinity): boolean {
  return affinity.some(({ by }) => by === "token");
}

/** The text that a step hashes, beginning with what kind of value it is; null when the request has none. */
export function hashedText(step: HashedStep, credentials: Credentials): string | null {
  const value = valueOf(step, credentials);
  return value === null || value === "" ? null : `${step.by} ${"name" in step ? step.name : ""} ${value}`;
}

function valueOf(step: HashedStep, { headers, query, clientAddress }: Credentials): string | null {
  switch (step.by) {
    case "header":
      return headers.get(step.name);
    case "cookie":
      return cookieValues(headers.get("cookie") ?? "", step.name)[0] ?? null;
    case "query":
      return queryValue(query, step.name);
    case "address":
      return clientAddress === null ? null : networkOf(clientAddress);
  }
}

/** The first value of a name, as written: two spellings of one value are two values. */
function queryValue(query: string, name: string): string | null {
  if (!query.includes(name)) return null;
  const pair = query
    .slice(1)
    .split("&")
    .find((part) => part.startsWith(`${name}=`));
  return pair?.slice(name.length + 1) ?? null;
}
