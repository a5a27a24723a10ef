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

/** Who answers a command's requests, in alphabetical order. */
async function sorted(command: string): Promise<string> {
  return (await served(command)).toSorted().join(" ");
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

  it("says that without a header /sticky is round robin, which it is", async () => {
    expect(run.text).toMatch(/\/sticky .*MF-CF-Blob\s.*tlsClientRandom does, and without it .* round robin/);
    expect(await sorted(`curl -sS '${run.url}/sticky?[1-6]'`)).toBe("a a b b c c");
  });

  it("prints commands that all do what they say when pasted in order", async () => {
    const commands = commandsOf(run.text);
    expect(commands).toHaveLength(16);
    const [roundRobin, sticky, connections, session, status, add, afterAdding, weigh] = commands as Eight;
    const [afterWeighing, drain, afterDraining, undrain, drainSoon, receipt, remove, routes] = commands.slice(
      8,
    ) as Eight;

    expect(await sorted(roundRobin)).toBe("a a b b c c");
    expect(new Set(await served(sticky)).size).toBe(1);
    const placed = await served(connections);
    expect(placed).toHaveLength(6);
    expect(await served(connections)).toEqual(placed);
    expect(new Set(await served(session)).size).toBe(1);

    const { backends } = JSON.parse(await paste(status));
    expect(backends).toMatchObject([{ id: "a" }, { id: "b" }, { id: "c" }]);
    const counts = backends.map(({ outcomes }: Counted) => outcomes.answered);
    expect(Math.min(...counts), "it counts what came before").toBeGreaterThan(0);

    expect(JSON.parse(await paste(add))).toMatchObject({ created: true });
    expect(await sorted(afterAdding)).toContain("spare");
    expect(await served(connections), "adding moves no connection").toEqual(placed);

    await paste(weigh);
    expect(await sorted(afterWeighing)).toContain("spare spare");
    // Free turns also make up for the bound ones before.
    await expect.poll(() => sorted(roundRobin), SOON).toBe("a b c spare spare spare");

    const names = Array.from({ length: 100 }, (_, index) => `connection ${index}`);
    const before = await Promise.all(names.map((name) => stickTo(run.url, name)));
    expect(before).toContain("spare");
    await paste(drain);
    expect(await sorted(afterDraining)).toMatch(/^[abc ]+$/);
    expect(await Promise.all(names.map((name) => stickTo(run.url, name)))).toEqual(before);
    expect(await Promise.all(names.map((name) => stickTo(run.url, `new ${name}`)))).not.toContain("spare");

    await paste(undrain);
    expect(await sorted(afterWeighing)).toContain("spare");

    await paste(drainSoon);
    expect(JSON.parse(await paste(receipt))).toMatchObject({ id: "spare", state: "safe", safe: true });
    await paste(remove);
    expect(await sorted(afterDraining)).toMatch(/^[abc ]+$/);
    expect(JSON.parse(await paste(routes)).routes).toMatchObject([
      { id: "sticky" },
      { id: "session" },
      { id: "everything" },
    ]);
  }, 90_000);

  // A zsh takes a comment at its prompt for a command: at an apostrophe or a bracket it would wait for the other one.
  it("explains the commands in words that no shell acts upon", () => {
    const remarks = run.text.split("\n").filter((line) => line.startsWith("#"));
    expect(remarks.filter((line) => !/^# [\w ,.:-]+$/.test(line))).toEqual([]);
  });

  it("says that the port is taken, in one line", async () => {
    const { port } = new URL(run.url);
    expect(await refused("--port", port)).toBe(
      `npm start: --port ${port} is taken; choose another one, 0…65535 (0: any free one)\n`,
    );
  });
});

type Eight = [string, string, string, string, string, string, string, string];

interface Counted {
  readonly outcomes: { readonly answered: number };
}

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
