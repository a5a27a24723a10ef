import { randomBytes } from "node:crypto";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { claimFolder, FolderInUse } from "./folder-claim.ts";

/** Name of the file in the folder of `--persist` that holds the operator token. */
export const TOKEN_FILE = "operator-token";

const TOKEN = /^[\w-]{16,}$/;

/**
 * Opens the folder of `--persist`, made if it is not there, for this process alone.
 *
 * @throws Error when another process uses it, or nothing can be kept in it.
 */
export async function openKeptFolder(folder: string): Promise<void> {
  const shown = `--persist ${JSON.stringify(folder)}`;
  try {
    await makeFolders(folder);
    await claimFolder(folder);
  } catch (cause) {
    throw new Error(
      cause instanceof FolderInUse
        ? `${shown} is in use by process ${cause.pid}; stop that one first, or choose another folder`
        : `${shown} must be a folder that can be written to`,
      { cause },
    );
  }
}

/** Makes a folder, level by level: where the system refuses one, as in `/proc`, Node's recursive `mkdir` tries for ever. */
async function makeFolders(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => null);
  if (found !== null) return;
  await makeFolders(dirname(folder));
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    // Somebody else may have made it meanwhile.
    if (error.code !== "EEXIST") throw error;
  });
}

/**
 * The operator token that a folder keeps, made the first time.
 *
 * @throws Error when its file holds something else.
 */
export async function keptToken(folder: string): Promise<string> {
  const file = join(folder, TOKEN_FILE);
  const kept = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (kept === null) {
    const token = createToken();
    await writeFile(file, `${token}\n`, { mode: 0o600 });
    return token;
  }
  if (TOKEN.test(kept.trim())) return kept.trim();
  throw new Error(
    `${file} must hold a token of at least 16 letters, digits, "-" and "_"; remove it to get another one`,
  );
}

/** An operator token that nobody guesses. */
export function createToken(): string {
  return randomBytes(18).toString("base64url");
}
