import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { claimFolder } from "../local/folder-claim.ts";
import { keptToken, TOKEN_FILE } from "../local/kept-folder.ts";
import type { NamedBackend } from "../local/options.ts";
import { findKept, type LocalPool, samplesFor, setUp } from "../local/set-up.ts";
import { AdminClient } from "../support/admin.ts";
import { startEdge } from "../support/edge.ts";
import {
  commandsOf,
  livingInGroup,
  makeFolder,
  paste,
  refused,
  SOON,
  served,
  start,
  stop,
} from "./support-start.ts";

it("keeps pools, routes, backends and the token with --persist", async () => {
  const persist = join(await makeFolder(), "not", "there yet");
  const first = await start("--persist", persist);
  await first.admin.do("PUT", "/pools/default/backends/mine", { url: "http://mine.example", weight: 0 });
  await first.admin.do("PATCH", "/pools/default/backends/b", { weight: 7 });
  await first.admin.do("DELETE", "/routes/sticky");
  expect(await stop(first, "SIGTERM")).toBe(0);
  expect(first.output()).toMatch(/\nStopped; its state is kept in .*there yet\n$/);
  expect((await stat(join(persist, TOKEN_FILE))).mode & 0o777).toBe(0o600);

  const second = await start("--persist", persist);
  expect(second.token).toBe(first.token);
  const { body } = await second.admin.do("GET", "/pools/default/backends");
  expect(body.backends).toMatchObject([{ id: "a" }, { id: "b", weight: 7 }, { id: "c" }, { id: "mine" }]);
  expect((await second.admin.do("GET", "/routes")).body.routes).toMatchObject([
    { id: "session" },
    { id: "everything" },
  ]);
  const answers = await served(`curl -sS '${second.url}/?[1-9]'`);
  expect(answers.toSorted().join("")).toBe("abbbbbbbc");
  expect(second.text).toContain("kept from an earlier run; of the samples a, b, c run for it");
  expect(await stop(second, "SIGTERM")).toBe(0);
  expect((await readdir(persist)).filter((name) => name.startsWith("in-use"))).toEqual([]);
});

it("leaves out what was to try on a route that an earlier run deleted or changed, and the rest works", async () => {
  const persist = await makeFolder();
  const first = await start("--persist", persist);
  await first.admin.do("DELETE", "/routes/sticky");
  await first.admin.do("PUT", "/routes/everything", { path: "/other", pool: "default" });
  expect(await stop(first, "SIGTERM")).toBe(0);

  const second = await start("--persist", persist);
  expect(second.text).toMatch(/\/sticky +deleted or changed in an earlier run/);
  expect(second.text).toMatch(/\/session +sticky per session/);
  expect(second.text).toMatch(/anything else +deleted or changed in an earlier run/);
  const commands = commandsOf(second.text).filter((command) => !command.includes("/receipt"));
  expect(commands).toHaveLength(9);
  for (const command of commands) await paste(command);
  expect(await stop(second, "SIGTERM")).toBe(0);
});

describe("a folder of --persist", () => {
  it.skipIf(process.platform !== "linux")(
    "is used by one run at a time, also when that was killed and its runtime lives on",
    async () => {
      const persist = await makeFolder();
      const first = await start("--persist", persist);
      const { pid } = first.process;
      const inUse = (by: number | undefined): string =>
        `npm start: --persist "${persist}" is in use by process ${by}; stop that one first, or choose another folder\n`;
      expect(await refused("--port", "0", "--persist", persist)).toBe(inUse(pid));

      first.process.kill("SIGKILL");
      const living = () => livingInGroup(first.process);
      await expect.poll(async () => (await living()).map(({ name }) => name), SOON).not.toContain("node");
      const left = (await living()).filter(({ name }) => name === "workerd");
      expect(left).toHaveLength(1);
      expect(await refused("--port", "0", "--persist", persist)).toBe(inUse(left[0]?.pid));

      for (const runtime of left) process.kill(runtime.pid, "SIGKILL");
      await expect.poll(living, SOON).toEqual([]);
      const second = await start("--persist", persist);
      expect(await stop(second, "SIGTERM")).toBe(0);
    },
  );

  it.skipIf(process.platform !== "linux")(
    "is free again when another process has the id of the one that claimed it",
    async () => {
      const folder = await makeFolder();
      await writeFile(join(folder, `in-use-by-${process.ppid}-1`), "");
      await claimFolder(folder);
      expect(await readdir(folder)).toEqual([expect.stringMatching(`^in-use-by-${process.pid}-`)]);
    },
  );

  // Node's recursive `mkdir` never came back from there, and kept a core busy.
  it.skipIf(process.platform !== "linux").each(["/proc/foo", "/proc/foo/bar", "/dev/null", "/dev/null/foo"])(
    "is refused where none can be made: %s",
    async (folder) => {
      expect(await refused("--port", "0", "--persist", folder)).toBe(
        `npm start: --persist "${folder}" must be a folder that can be written to\n`,
      );
    },
  );

  it("keeps a token of one's own, and says when its file holds none", async () => {
    const folder = await makeFolder();
    const file = join(folder, TOKEN_FILE);
    await writeFile(file, "a-token-of-my-own\n");
    expect(await keptToken(folder)).toBe("a-token-of-my-own");
    await writeFile(file, "short");
    await expect(keptToken(folder)).rejects.toThrow(`${file} must hold a token of at least 16 letters`);
  });

  it("holds what is no claim, whatever its name", async () => {
    const folder = await makeFolder();
    await mkdir(join(folder, "in-use-by-me"));
    await claimFolder(folder);
    expect(await readdir(folder)).toContain("in-use-by-me");
  });
});

describe("a pool that an earlier run left", () => {
  it("has the backends of this run put right, and samples taken out that no longer run", async () => {
    const admin = await startRing();
    await bring(admin, [], 0);
    await admin.do("PUT", "/pools/default/backends/spare", { url: "http://127.0.0.1:4" });
    await admin.do("DELETE", "/pools/default/backends/c");

    expect(await bring(admin, [], 10)).toMatchObject({
      backends: [
        { id: "a", url: "http://127.0.0.1:11" },
        { id: "b", url: "http://127.0.0.1:12" },
        { id: "spare", url: "http://127.0.0.1:14" },
      ],
    });

    const own = [{ id: "mine-80", url: "http://mine", weight: 5 }];
    expect(await bring(admin, own, 20)).toMatchObject({
      backends: [
        { id: "spare", url: "http://127.0.0.1:24" },
        { id: "mine-80", weight: 5 },
      ],
    });
  });

  it("gets no samples beside backends of one's own, also where one has a sample's name", async () => {
    const admin = await startRing();
    await bring(admin, [{ id: "mine-80", url: "http://mine", weight: 5 }], 0);
    await admin.do("PUT", "/pools/default/backends/b", { url: "http://b.example" });
    expect(await bring(admin, [], 10)).toMatchObject({
      backends: [
        { id: "mine-80", url: "http://mine", weight: 5 },
        { id: "b", url: "http://b.example" },
      ],
    });
  });

  it("gets the samples when it has no backends", async () => {
    const admin = await startRing();
    await bring(admin, [], 0);
    for (const id of ["a", "b", "c"])
      await admin.do("DELETE", `/pools/default/backends/${id}`, { force: true });
    expect(await bring(admin, [], 10)).toMatchObject({ backends: [{ id: "a" }, { id: "b" }, { id: "c" }] });
  });

  it("is printed as it was left", async () => {
    const persist = await makeFolder();
    const first = await start("--persist", persist, "--backend", "http://127.0.0.1:9");
    expect(first.text).not.toContain("earlier run");
    expect(await stop(first, "SIGTERM")).toBe(0);
    const second = await start("--persist", persist);
    expect(second.text).toContain(`pool default   127.0.0.1-9 at http://127.0.0.1:9 (weight 1)
                 kept from an earlier run as it was; no samples were added
`);
    expect(await stop(second, "SIGTERM")).toBe(0);
  });
});

async function startRing(): Promise<AdminClient> {
  const edge = await startEdge({ bundle: inject("bundle") });
  onTestFinished(() => edge.stop());
  return new AdminClient(edge.urls[0]);
}

/** Sets up as a run does whose samples a, b, c and spare are at the four ports after `port`. */
async function bring(admin: AdminClient, own: readonly NamedBackend[], port: number): Promise<LocalPool> {
  const kept = await findKept(admin);
  const ports: Readonly<Record<string, number>> = { a: port + 1, b: port + 2, c: port + 3 };
  const samples = samplesFor(own, kept).map((id) => ({ id, url: `http://127.0.0.1:${ports[id]}` }));
  return setUp(admin, kept, { own, samples, spareUrl: `http://127.0.0.1:${port + 4}` });
}
