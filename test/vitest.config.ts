import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

/**
 * Three layers: `core`, every pure rule in plain Node; `workerd`, the Durable Objects inside the runtime; `e2e`, the
 * whole built worker in Miniflare with real backends on loopback.
 */
export default defineConfig({
  test: {
    // One more than the cores of the smallest machine: files that run a workerd of their own wait a good deal of their time.
    maxWorkers: 3,
    projects: [
      {
        test: {
          name: "core",
          root: ".",
          include: ["test/core/**/*.test.ts", "test/contract/**/*.test.ts"],
          // Pure rules keep nothing from one file to the next.
          isolate: false,
          // Properties of 10,000 runs take some seconds where other work goes on.
          testTimeout: 30_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: { bindings: { WEBHOOK_KEY: "the key of a test's webhook" } },
          }),
        ],
        test: { name: "workerd", root: ".", include: ["test/workerd/**/*.test.ts"] },
      },
      {
        test: {
          name: "e2e",
          root: ".",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: ["test/support/global-setup.ts"],
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
    ],
  },
});
