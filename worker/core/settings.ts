/** How this deployment is set up, from its variables. */
export interface Settings {
  /** Without trailing slash. Default `/_ring`. */
  readonly adminPrefix: string;
  /** The hostname that serves only the admin API; null: every hostname serves it under the prefix. Default null. */
  readonly adminHost: string | null;
  /** Whether `Forwarded` and `X-Forwarded-*` of clients are kept. Default false. */
  readonly isForwardedTrusted: boolean;
  /** Whether this runs on Miniflare, whose `MF-*` headers must not reach a backend. Default false. */
  readonly isLocal: boolean;
  /** The header in which one's own front names a client's connection, and the secret it proves itself by; null: no front. */
  readonly front: Front | null;
  /** Whether backends may live on loopback, private and literal addresses. Default false. */
  readonly arePrivateBackendsAllowed: boolean;
}

/** One's own front, such as an HTTP/3 server that ends connections before they come here. */
export interface Front {
  readonly header: string;
  readonly secret: string;
}

/**
 * Reads the variables `ADMIN_PREFIX`, `ADMIN_HOST`, `TRUST_FORWARDED`, `LOCAL_RUNTIME`, `CONNECTION_HEADER` and
 * `ALLOW_PRIVATE_BACKENDS`, and the secret `CONNECTION_HEADER_SECRET`.
 *
 * @throws Error naming the variable, its value and what it may hold, since a deployment with a wrong one must not serve.
 */
export function parseSettings(variables: Readonly<Record<string, unknown>>): Settings {
  return {
    adminPrefix: parsePrefix(variables["ADMIN_PREFIX"]),
    adminHost: parseHost(variables["ADMIN_HOST"]),
    isForwardedTrusted: parseFlag("TRUST_FORWARDED", variables["TRUST_FORWARDED"]),
    isLocal: parseFlag("LOCAL_RUNTIME", variables["LOCAL_RUNTIME"]),
    front: parseFront(variables["CONNECTION_HEADER"], variables["CONNECTION_HEADER_SECRET"]),
    arePrivateBackendsAllowed: parseFlag("ALLOW_PRIVATE_BACKENDS", variables["ALLOW_PRIVATE_BACKENDS"]),
  };
}

function parsePrefix(value: unknown): string {
  if (value === undefined || value === "") return "/_ring";
  if (typeof value === "string" && /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~-]+)+$/.test(value)) return value;
  throw new Error(
    `ADMIN_PREFIX ${JSON.stringify(value)} must be a path such as /_ring, without trailing slash`,
  );
}

function parseHost(value: unknown): string | null {
  if (value === undefined || value === "") return null;
  if (typeof value === "string" && /^(?:[a-z0-9-]+\.)*[a-z0-9-]+$/.test(value)) return value;
  throw new Error(`ADMIN_HOST ${JSON.stringify(value)} must be a lower-case hostname without port, or empty`);
}

const MIN_SECRET_LENGTH = 16;

function parseFront(header: unknown, secret: unknown): Front | null {
  if (header === undefined || header === "") return null;
  if (typeof header !== "string" || !/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/.test(header)) {
    throw new Error(`CONNECTION_HEADER ${JSON.stringify(header)} must be the name of a header, or empty`);
  }
  if (typeof secret !== "string" || !/^[!-~]*$/.test(secret) || secret.length < MIN_SECRET_LENGTH) {
    throw new Error(
      `CONNECTION_HEADER_SECRET must be at least ${MIN_SECRET_LENGTH} visible characters when CONNECTION_HEADER is set`,
    );
  }
  return { header: header.toLowerCase(), secret };
}

function parseFlag(name: string, value: unknown): boolean {
  if (value === undefined || value === "" || value === "false") return false;
  if (value === "true") return true;
  throw new Error(`${name} ${JSON.stringify(value)} must be "true" or "false"`);
}
