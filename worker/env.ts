/** What `wrangler.toml` and the secrets bind, and whatever Fetcher bindings backends name in `via`. */
export interface Env {
  readonly RING: DurableObjectNamespace;
  readonly DIRECTORY: DurableObjectNamespace;
  readonly [name: string]: unknown;
}

/** Whether a value of the environment is something to fetch through. */
export function isFetcher(binding: unknown): binding is Fetcher {
  return (
    typeof binding === "object" &&
    binding !== null &&
    "fetch" in binding &&
    typeof binding.fetch === "function"
  );
}
