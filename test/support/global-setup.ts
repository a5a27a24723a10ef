import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { TestProject } from "vitest/node";
import { buildBundle } from "./bundle.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Path of the worker, built once for all end-to-end tests. */
    readonly bundle: string;
  }
}

/** Builds the worker once for all end-to-end tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const bundle = await buildBundle();
  project.provide("bundle", bundle);
  return () => rm(dirname(bundle), { recursive: true });
}
