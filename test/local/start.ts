import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AdminClient } from "../support/admin.ts";
import type { Backend } from "../support/backend.ts";
import { buildBundle } from "../support/bundle.ts";
import { startEdge } from "../support/edge.ts";
import { guide } from "./guide.ts";
import { createToken, keptToken, openKeptFolder } from "./kept-folder.ts";
import { HELP, parseOptions, type StartOptions } from "./options.ts";
import { SPARE_ID, startSample } from "./samples.ts";
import { findKept, samplesFor, setUp } from "./set-up.ts";

/** What has to be undone at the end, latest last. */
type Undo = (() => Promise<void>)[];

/** A start that a signal finds under way, and what is undone then, may go on for this long, milliseconds. */
const GRACE_MS = 3_000;

/** A signal reaches this process so much later at most than its children, milliseconds. */
const LATE_MS = 100;

const SIGNALS: readonly (string | symbol)[] = ["SIGINT", "SIGTERM", "SIGHUP"];

const asked = parseOptions(process.argv.slice(2), process.env);
switch (asked.kind) {
  case "help":
    console.log(HELP);
    break;
  case "wrong":
    fail(asked.problem);
    break;
  case "start":
    await run(asked.options);
    break;
}

/** Starts everything, says how to use it, and when a signal comes stops everything. */
async function run(options: StartOptions): Promise<void> {
  const stop = new AbortController();
  const undo: Undo = [];
  stopOnSignals(stop);
  stopWithNpm(stop);
  process.once("exit", () => {
    if (stop.signal.aborted) console.log(farewell(options));
  });
  try {
    await Promise.race([start(options, stop.signal, undo), overdue(stop.signal)]);
    await aborted(stop.signal);
  } catch (error) {
    // What fails at a signal, such as a build that got it too, fails because of it; and it may have got it first.
    await Promise.race([aborted(stop.signal), delay(LATE_MS)]);
    if (!stop.signal.aborted) fail(error instanceof Error ? error.message : String(error));
  }
  await Promise.race([undoAll(undo), delay(GRACE_MS)]);
  // Ends what a start that failed half-way may have left.
  process.exit();
}

async function start(
  { backends: own, port, persist }: StartOptions,
  stop: AbortSignal,
  undo: Undo,
): Promise<void> {
  await assertFree(port);
  if (persist !== null) await openKeptFolder(persist);
  const token = persist === null ? createToken() : await keptToken(persist);
  const folder = await makeFolder();
  const bundle = await buildBundle();
  stop.throwIfAborted();
  const edge = await startEdge({
    bundle,
    port,
    persist: persist ?? join(folder, "state"),
    // wrangler.toml says where the admin API is at the edge; here it is where the printed commands look for it.
    variables: { OPERATOR_TOKENS: token, ADMIN_PREFIX: "/_ring", ADMIN_HOST: "" },
  });
  undo.push(() => edge.stop());
  stop.throwIfAborted();
  const [url] = edge.urls;
  const admin = new AdminClient(url, token);
  const found = await findKept(admin);
  const samples = await Promise.all(samplesFor(own, found).map(startSample));
  const spare = await startSample(SPARE_ID);
  undo.push(...[...samples, spare].map((sample) => () => sample.stop()));
  const pool = await setUp(admin, found, { own, samples: samples.map(addressOf), spareUrl: spare.url });
  stop.throwIfAborted();
  const kept = found === null ? null : { hasOwn: own.length > 0, samples: samples.map(({ id }) => id) };
  const readyMs = performance.now();
  console.log(guide({ url, token, pool, kept, spareUrl: spare.url, persist, readyMs }));
}

function addressOf({ id, url }: Backend): { readonly id: string; readonly url: string } {
  return { id, url };
}

async function undoAll(undo: Undo): Promise<void> {
  for (const step of undo.toReversed()) await step();
}

/** The last line, on standard output. */
function farewell({ persist }: StartOptions): string {
  return persist === null ? "Stopped; its state is removed." : `Stopped; its state is kept in ${persist}`;
}

/**
 * Takes the signals over, however often they come: npm may pass on the one that the terminal gave to both. Handlers of
 * Miniflare's, which would exit before anything of ours is undone, are taken off as they are put on.
 */
function stopOnSignals(stop: AbortController): void {
  for (const signal of SIGNALS) {
    process.removeAllListeners(signal);
    process.on(signal, () => stop.abort());
  }
  process.on("newListener", (event, listener) => {
    if (SIGNALS.includes(event)) queueMicrotask(() => process.off(event, listener));
  });
}

/** npm gives SIGTERM to its shell, which ends without passing it on; so under npm the end of the shell is a signal too. */
function stopWithNpm(stop: AbortController): void {
  if (process.env["npm_lifecycle_event"] !== "start") return;
  const shell = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid !== shell) stop.abort();
  }, 200);
  watch.unref();
}

/** Resolves when a signal has come and its grace is over. */
async function overdue(signal: AbortSignal): Promise<void> {
  await aborted(signal);
  await delay(GRACE_MS);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });
}

/** Makes a folder for all that is temporary in this process and its children. It goes when the process does. */
async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-"));
  process.env["TMPDIR"] = folder;
  // Before the last line is printed, which says that it is gone.
  process.prependOnceListener("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** @throws Error when the port cannot be had: said now, and not after a build. */
async function assertFree(port: number): Promise<void> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
  } catch (cause) {
    const isForbidden = cause instanceof Error && "code" in cause && cause.code === "EACCES";
    const why = isForbidden ? "may not be opened by this user" : "is taken";
    throw new Error(`--port ${port} ${why}; choose another one, 0…65535 (0: any free one)`, { cause });
  }
  await new Promise((resolve) => {
    server.close(resolve);
  });
}

/** One line on standard error, and an exit code that says so. */
function fail(problem: string): void {
  console.error(`npm start: ${problem.split("\n", 1).join()}`);
  process.exitCode = 1;
}
