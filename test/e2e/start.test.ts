import { readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { beforeAll, describe, expect, it } from "vitest";
import {
  closing,
  commandsOf,
  launch,
  livingInGroup,
  paste,
  type Run,
  refused,
  SOON,
  served,
  start,
  startUnderShell,
  stop,
} from "./support-start.ts";

/** Who serves the connection of this name. */
async function stickTo(url: string, name: string): Promise<string | null> {
  const response = await fetch(`${url}/sticky`, {
    headers: { "MF-CF-Blob": JSON.stringify({ tlsClientRandom: name }) },
  });
  await response.arrayBuffer();
  return response.headers.get("x-backend");
}

async function listens(port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  await new Promise((resolve) => {
    server.close(resolve);
  });
}

describe("npm start", () => {
  let run: Run;
  beforeAll(async () => {
    run = await start();
  });

  // How long, is for the reader: timing on a loaded machine tells nothing.
  it("says how long it took to be ready", () => {
    expect(run.text).toMatch(/ready at http:\/\/127\.0\.0\.1:\d+ after \d+\.\d s\./);
  });

  it("prints commands that all do what they say when pasted", async () => {
    const commands = commandsOf(run.text);
    expect(commands).toHaveLength(11);
    const [roundRobin, sticky, others, session, status, add, weigh, drain, undrain, remove, routes] =
      commands as [string, string, string, string, string, string, string, string, string, string, string];
    const sorted = async (): Promise<string> => (await served(roundRobin)).toSorted().join(" ");

    expect(await sorted()).toBe("a a b b c c");
    expect(new Set(await served(sticky)).size).toBe(1);
    const placed = await served(others);
    expect(placed).toHaveLength(6);
    expect(await served(others)).toEqual(placed);
    expect(new Set(await served(session)).size).toBe(1);
    expect(JSON.parse(await paste(status)).backends).toMatchObject([
      { id: "a", admits: "new" },
      { id: "b", admits: "new" },
      { id: "c", admits: "new" },
    ]);

    expect(JSON.parse(await paste(add))).toMatchObject({ created: true });
    await expect.poll(sorted, SOON).toContain("spare");
    expect(await served(others), "adding moves no connection").toEqual(placed);

    await paste(weigh);
    await expect.poll(sorted, SOON).toBe("a a a b c spare");

    const names = Array.from({ length: 100 }, (_, index) => `connection ${index}`);
    const before = await Promise.all(names.map((name) => stickTo(run.url, name)));
    expect(before).toContain("a");
    await paste(drain);
    // That free requests pass it by says nothing yet: they also make up for the bound ones it has had.
    const convergence = async (): Promise<unknown> => {
      await sorted();
      return JSON.parse(await paste(status)).convergence.governsAtMs;
    };
    await expect.poll(convergence, SOON).toBeNull();
    expect(await sorted()).not.toMatch(/\ba\b/);
    expect(await Promise.all(names.map((name) => stickTo(run.url, name)))).toEqual(before);
    expect(await Promise.all(names.map((name) => stickTo(run.url, `new ${name}`)))).not.toContain("a");
    expect(JSON.parse(await paste(status)).backends[0]).toMatchObject({ id: "a", admits: "sticky" });

    await paste(undrain);
    await expect.poll(sorted, SOON).toBe("a a a b c spare");

    await paste(remove);
    await expect.poll(sorted, SOON).not.toContain("spare");
    expect(JSON.parse(await paste(routes)).routes).toMatchObject([
      { id: "sticky" },
      { id: "session" },
      { id: "everything" },
    ]);
  });

  it("says that the port is taken, in one line", async () => {
    const { port } = new URL(run.url);
    expect(await refused("--port", port)).toBe(
      `npm start: --port ${port} is taken; choose another one, 0…65535 (0: any free one)\n`,
    );
  });
});

describe.skipIf(process.platform !== "linux")("when it is stopped", () => {
  it("leaves nothing behind at Ctrl-C: no process, no port, no file", async () => {
    const run = await start();
    expect((await livingInGroup(run.process)).map(({ name }) => name)).toContain("workerd");
    expect(await stop(run, "SIGINT")).toBe(0);
    expect(await livingInGroup(run.process)).toEqual([]);
    await listens(Number(new URL(run.url).port));
    expect(await readdir(run.temporary)).toEqual([]);
    expect(run.output().slice(run.text.length)).toBe("Stopped; its state is removed.\n");
  });

  it("stops when npm's shell ends, which does not pass SIGTERM on", async () => {
    const run = await startUnderShell();
    run.process.kill("SIGTERM");
    await expect.poll(() => livingInGroup(run.process), SOON).toEqual([]);
    expect(await readdir(run.temporary)).toEqual([]);
  });

  it("stops before it is ready, whatever it waits for", async () => {
    const hangs = "data:text/javascript,globalThis.fetch=()=>new Promise(()=>{})";
    const run = await launch(process.execPath, ["--import", hangs, "test/local/start.ts", "--port", "0"]);
    const names = async () => (await livingInGroup(run.process)).map(({ name }) => name);
    await expect.poll(names, SOON).toContain("workerd");
    const closed = closing(run);
    run.process.kill("SIGINT");
    expect(await closed).toBe(0);
    expect(run.output()).toBe("Stopped; its state is removed.\n");
    await expect.poll(names, SOON).toEqual([]);
    expect(await readdir(run.temporary)).toEqual([]);
  });

  it("stops in the middle of its start, again and again", async () => {
    for (const names of [["esbuild"], ["workerd"]]) {
      const run = await launch(process.execPath, ["test/local/start.ts", "--port", "0"]);
      const living = async () => (await livingInGroup(run.process)).map(({ name }) => name);
      await expect.poll(living, { ...SOON, interval: 10 }).toEqual(expect.arrayContaining(names));
      expect(await stop(run, "SIGINT")).toBe(0);
      expect(run.output()).toMatch(/Stopped; its state is removed\.\n$/);
      expect(await readdir(run.temporary)).toEqual([]);
    }
  });
});
