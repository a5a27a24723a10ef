import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { Complaint } from "./complaint.ts";
import { toolEnvironment } from "./processes.ts";

/** Programs that npm does not bring, by the package of Debian and Ubuntu that does. */
const PACKAGES = { wrk: "wrk", nginx: "nginx-light", taskset: "util-linux" } as const;

type Tool = keyof typeof PACKAGES;

/**
 * Checks that the machine has what the benchmark needs.
 *
 * @throws Complaint naming what to install.
 */
export async function requireTools(tools: readonly Tool[]): Promise<void> {
  if (process.platform !== "linux")
    throw new Complaint(
      `the benchmark reads CPU times from /proc and runs on Linux only, not on ${process.platform}`,
    );
  const found = await Promise.all(tools.map(isInstalled));
  const missing = tools.filter((_, index) => found[index] === false);
  if (missing.length === 0) return;
  throw new Complaint(
    `${missing.join(" and ")} not found; on Debian and Ubuntu: apt-get install ${missing.map((tool) => PACKAGES[tool]).join(" ")}`,
  );
}

async function isInstalled(tool: Tool): Promise<boolean> {
  const folders = (toolEnvironment()["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const found = await Promise.allSettled(folders.map((folder) => access(join(folder, tool), constants.X_OK)));
  return found.some(({ status }) => status === "fulfilled");
}
