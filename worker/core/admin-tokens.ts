/** Shorter tokens could be guessed; while there is one, the admin API is closed. */
export const MIN_TOKEN_LENGTH = 16;

/** A token of the admin API. */
export interface AdminToken {
  readonly token: string;
  /** Whose it is; null: the secret does not say. */
  readonly name: string | null;
}

/** The tokens that a secret holds, separated by spaces or commas; `alice:` before one names whose it is. */
export function parseAdminTokens(secret: unknown): readonly AdminToken[] {
  if (typeof secret !== "string") return [];
  return secret
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .map((entry) => {
      const colon = entry.indexOf(":");
      const name = colon === -1 ? null : entry.slice(0, colon);
      return { token: entry.slice(colon + 1), name };
    });
}
