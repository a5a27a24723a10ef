import { DEFAULT_POOL } from "../../durable/model/names.ts";
import { after, epochMs } from "../../durable/model/time.ts";
import { GENERATORS } from "../../durable/model/token.ts";
import { Keyring } from "../../worker/core/token/keyring.ts";

/** Twice what a keyring remembers by default, so that whoever reads them in turn finds none of them remembered. */
const TOKENS = 20_000;

const NOW = epochMs(1_800_000_000_000);

/** What is repeated. `read`: tokens not read before. `repeat`: one of a hundred that were. */
const TASKS = ["issue", "read", "repeat"] as const;
type Task = (typeof TASKS)[number];

/** A pool's tokens, and where they are in the cookie headers they come in. */
interface Scene {
  readonly keyring: Keyring;
  readonly headers: readonly string[];
  readonly from: number;
  readonly to: number;
}

const scenes = new Map<string, Scene>();

/**
 * The worker inside which tokens are timed, from outside: its own clock stands still. It repeats a task as often as it is
 * told and answers with a number that depends on every single result, so that none can be left out.
 */
const worker = {
  fetch(request: Request): Response {
    const { searchParams } = new URL(request.url);
    const scene = sceneOf(searchParams);
    const task = TASKS.find((name) => name === searchParams.get("task")) ?? "issue";
    return new Response(String(repeat(scene, task, Number(searchParams.get("count")))));
  },
};

function sceneOf(params: URLSearchParams): Scene {
  const layout = ["generator", "serverIdBytes", "nonceBytes"].map((name) => params.get(name) ?? "");
  const known = scenes.get(layout.join(" "));
  if (known !== undefined) return known;
  const scene = createScene(layout);
  scenes.set(layout.join(" "), scene);
  return scene;
}

function createScene([generator, serverIdBytes, nonceBytes]: readonly string[]): Scene {
  const config = {
    id: 0,
    generator: GENERATORS.find((name) => name === generator) ?? "encrypted",
    serverIdBytes: Number(serverIdBytes),
    nonceBytes: Number(nonceBytes),
    key: "8f95f09245765f80256934e50c66207f",
    macKey: "000102030405060708090a0b0c0d0e0f",
  };
  const keyring = new Keyring(DEFAULT_POOL, { writeId: 0, configs: [config], removed: [] });
  const texts = Array.from({ length: TOKENS }, (_, index) => issue(keyring, index));
  // Texts come out of a header that begins and ends with other cookies.
  const before = "theme=dark; __Host-ring-shop=";
  const headers = texts.map((text) => `${before}${text}; lang=en`);
  return { keyring, headers, from: before.length, to: before.length + (texts[0] ?? "").length };
}

function repeat({ keyring, headers, from, to }: Scene, task: Task, count: number): number {
  let sink = 0;
  for (let index = 0; index < count; index++) {
    if (task === "issue") {
      sink += issue(keyring, index).charCodeAt(40);
    } else {
      const header = headers[index % (task === "read" ? TOKENS : 100)] ?? "";
      const reading = keyring.read(header.slice(from, to), NOW);
      if (typeof reading === "string") throw new Error(`${reading} must be a token`);
      sink += reading.serverId;
    }
  }
  return sink;
}

function issue(keyring: Keyring, index: number): string {
  const content = {
    serverId: index % 200,
    region: "eu-west",
    sessionId: "0123456789abcdef",
    startedMs: NOW,
    expiresMs: after(NOW, 86_400_000),
  };
  return keyring.issue(content, crypto.getRandomValues(new Uint8Array(keyring.nonceBytes)));
}

// oxlint-disable-next-line import/no-default-export -- what the runtime calls
export default worker;
