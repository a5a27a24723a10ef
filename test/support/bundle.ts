import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The top of the project. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

const WRANGLER = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");

/** Environment in which wrangler and Miniflare ask nobody anything. */
export const OFFLINE = {
  WRANGLER_SEND_METRICS: "false",
  // A wrangler without banner does not ask the registry whether there is a newer one.
  WRANGLER_HIDE_BANNER: "true",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  CI: "true",
} as const;

/**
 * Builds the worker as `wrangler deploy` would, into a folder of its own.
 *
 * @param config wrangler's configuration. Default that of Ringmaster.
 * @param name of the file the worker begins in, without ending. Default that of Ringmaster.
 * @returns path of the one ES module that would be uploaded.
 */
export async function buildBundle(config = join(ROOT, "wrangler.toml"), name = "index"): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-bundle-"));
  try {
    await promisify(execFile)(
      process.execPath,
      [WRANGLER, "deploy", "--dry-run", "--config", config, "--outdir", folder],
      {
        cwd: ROOT,
        env: { ...process.env, ...OFFLINE },
      },
    );
  } catch (error) {
    await rm(folder, { recursive: true });
    throw error;
  }
  return join(folder, `${name}.js`);
}
