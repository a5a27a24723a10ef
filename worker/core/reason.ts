import type { SnapshotBackend } from "../../durable/model/snapshot.ts";
import type { Choice, Chosen } from "./choice.ts";
import type { Notes } from "./notes.ts";

/** Why a request went where it went, or nowhere, in two letters. */
export const REASONS = {
  TK: "the token's session is kept at its backend",
  TR: "the token's session is too old, or has had too many requests, and was placed anew",
  TD: "the token's backend is drained or disabled: its session is moved",
  TE: "the token's backend is ejected or skipped: its session is moved; or has just failed: led elsewhere this once",
  TX: "the token's backend was removed: its session is moved",
  TU: "the token is of keys, or of a backend, that are not known here yet: led by hashing",
  CK: "the connection is remembered, and kept at its backend",
  CM: "the connection is remembered, but its backend is skipped or has just failed: led elsewhere meanwhile",
  CP: "the connection is placed by hashing",
  HV: "a value that the affinity chain names is hashed",
  HC: "the policy hashes the connection",
  PF: "nothing binds it: picked by the policy",
  PN: "nothing binds it: picked by the policy in a tier that panics, whatever the backend's health",
  PS: "nothing binds it: only backends that this isolate skips were left",
  LR: "everybody who is well has failed it: tried at last, by chance, at a backend that is out for its health",
  NB: "no backend admits it",
  FL: "whoever would take it has as much in flight as it may",
  SH: "the pool turns a part of its traffic away",
  SR: "the session's backend is lost, and the pool refuses it rather than move it",
  NR: "no route matches",
  LP: "it has passed through here before",
  NS: "there is no snapshot to route from",
} as const;
export type Reason = keyof typeof REASONS;

/** The reason for a choice, from what was noted while it was made. */
export function reasonOf(
  choice: Choice,
  notes: Notes,
  isPanicking: (backend: SnapshotBackend) => boolean,
): Reason {
  switch (choice.kind) {
    case "no_backend":
      return "NB";
    case "full":
      return "FL";
    case "shed":
      return "SH";
    case "session_refused":
      return "SR";
    case "backend":
      if (notes.isLast) return "LR";
      return notes.policy === null
        ? boundBy(choice, notes)
        : choice.isDesperate
          ? "PS"
          : isPanicking(choice.channel.backend)
            ? "PN"
            : notes.policy.isKeyed
              ? "HC"
              : "PF";
  }
}

function boundBy(choice: Chosen, notes: Notes): Reason {
  const found = notes.steps.at(-1)?.found;
  if (found === "hashed") return "HV";
  if (found === "placed") return "CP";
  if (found === "remembered") return notes.rememberedBackend === choice.channel.id ? "CK" : "CM";
  switch (choice.fate) {
    case "kept":
      return "TK";
    case "repinned":
      return "TR";
    case "drained":
      return "TD";
    case "ejected":
      return "TE";
    case "removed":
      return "TX";
    case "unknown":
    case "invalid":
    case "expired":
    case null:
      return "TU";
  }
}
