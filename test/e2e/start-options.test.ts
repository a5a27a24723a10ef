import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { isBlockedPort } from "../local/blocked-ports.ts";
import { parseOptions } from "../local/options.ts";
import { ROOT } from "../support/bundle.ts";

describe("the command line", () => {
  it("needs nothing", () => {
    expect(parseOptions([])).toEqual({
      kind: "start",
      options: { backends: [], port: 8787, persist: null },
    });
  });

  it("takes backends, each with the weight that follows it", () => {
    const args = ["--backend", "http://localhost:3000", "--weight", "5", "--backend=https://b.example/base/"];
    expect(parseOptions([...args, "--port=0", "--persist", "state"])).toEqual({
      kind: "start",
      options: {
        backends: [
          { id: "localhost-3000", url: "http://localhost:3000", weight: 5 },
          { id: "b.example-443-base", url: "https://b.example/base", weight: null },
        ],
        port: 0,
        persist: join(process.cwd(), "state"),
      },
    });
  });

  it("shows help whenever it is asked for", () => {
    expect(parseOptions(["--port", "1", "--help"])).toEqual({ kind: "help" });
    expect(parseOptions(["--prot", "1", "--help"])).toEqual({ kind: "help" });
    expect(parseOptions(["-h"])).toEqual({ kind: "help" });
  });

  it.each([
    ["--prot 1", "--prot is not known; known: --backend, --weight, --port, --persist, --help"],
    ["8080", '"8080" is no option; options come after --, as in: npm start -- --port 0'],
    ["-- --port 1", "-- is not known; known: --backend, --weight, --port, --persist, --help"],
    ["--port", "--port must be an integer 0…65535"],
    ["--port 65536", '--port "65536" must be an integer 0…65535'],
    ["--port 1e3", '--port "1e3" must be an integer 0…65535'],
    [
      "--port 10080",
      '--port "10080" is kept for another protocol, and browsers and Node\'s fetch refuse to open it; choose another one, 0…65535',
    ],
    ["--port 8000 --port 8001", '--port "8001" must be given once'],
    ["--persist a --persist b", '--persist "b" must be given once'],
    ["--weight 3", '--weight "3" must follow the --backend that it is for'],
    ["--backend http://a --weight -1", '--weight "-1" must be an integer 0…1000'],
    [
      "--backend http://a --weight 3 --weight 4",
      '--weight "4" must be given once for a backend, and http://a already has 3',
    ],
    [
      "--backend a.example",
      '--backend "a.example" must be an http:// or https:// URL of at most 2048 characters',
    ],
    [
      "--backend http://a --backend http://a:80/",
      '--backend "http://a:80/" must differ from the others in host, port or path',
    ],
    ["--persist=", '--persist "" must be a folder'],
  ])("refuses %s with option, value and range", (args, problem) => {
    expect(parseOptions(args.split(" "))).toEqual({ kind: "wrong", problem });
  });

  // `npm start --backend http://a --port 0`: npm keeps the names to itself and hands over what is left.
  it("says where options belong when npm took them", () => {
    const variables = { npm_config_backend: "true", npm_config_port: "true" };
    expect(parseOptions(["http://a", "0"], variables)).toEqual({
      kind: "wrong",
      problem:
        "npm took --backend and --port for its own: options come after --, as in: npm start -- --port 0",
    });
  });

  it("says so under npm, too", async () => {
    const run = promisify(execFile)("npm", ["start", "--persist=state"], { cwd: ROOT });
    await expect(run).rejects.toMatchObject({
      stderr: expect.stringContaining("npm start: npm took --persist for its own: options come after --"),
    });
  });

  it("refuses just the ports that fetch does", async () => {
    const dispatcher = {
      dispatch() {
        throw new Error("it would have been opened");
      },
    };
    const ports = Array.from({ length: 65_535 }, (_, index) => index + 1);
    const bad: number[] = [];
    for (const port of ports) {
      // A dispatcher is Node's own option.
      const options = { dispatcher } as RequestInit;
      const error: unknown = await fetch(`http://127.0.0.1:${port}`, options).catch(
        (cause: unknown) => cause,
      );
      const why = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
      if (why === "bad port") bad.push(port);
      else if (why !== "it would have been opened") throw new Error(`port ${port}: ${why}`, { cause: error });
    }
    expect(ports.filter(isBlockedPort)).toEqual(bad);
  });
});
