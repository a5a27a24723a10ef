/** What `wrangler.toml` binds, as tests inside workerd see it. */
declare namespace Cloudflare {
  interface Env {
    readonly RING: DurableObjectNamespace;
    readonly DIRECTORY: DurableObjectNamespace;
  }
}
