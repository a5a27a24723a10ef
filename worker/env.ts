/** What `wrangler.toml` and the secrets bind, and whatever Fetcher bindings backends name in `via`. */
export interface Env {
  readonly RING: DurableObjectNamespace;
  readonly DIRECTORY: DurableObjectNamespace;
  readonly [name: string]: unknown;
}
