import { fileURLToPath } from "node:url";
import type { GeneratorName } from "../../durable/model/token.ts";
import { type Loop, medianOf, ROUNDS, renderRow, serveLoop } from "./loop.ts";
import type { Teardown } from "./teardown.ts";

const LOOP = fileURLToPath(new URL("./token-loop.ts", import.meta.url));

/** One layout of tokens, as the table in `worker/README.md` lists it. */
interface Layout {
  readonly title: string;
  readonly generator: GeneratorName;
  readonly serverIdBytes: number;
  readonly nonceBytes: number;
}

const LAYOUTS: readonly Layout[] = [
  { title: "plaintext 4 + 12", generator: "plaintext", serverIdBytes: 4, nonceBytes: 12 },
  { title: "one block 4 + 12", generator: "encrypted", serverIdBytes: 4, nonceBytes: 12 },
  { title: "regional 4 + 12, one block", generator: "regional", serverIdBytes: 4, nonceBytes: 12 },
  { title: "four passes 1 + 4", generator: "encrypted", serverIdBytes: 1, nonceBytes: 4 },
  { title: "four passes 2 + 8", generator: "encrypted", serverIdBytes: 2, nonceBytes: 8 },
  { title: "four passes 9 + 8", generator: "encrypted", serverIdBytes: 9, nonceBytes: 8 },
  { title: "four passes 1 + 18", generator: "encrypted", serverIdBytes: 1, nonceBytes: 18 },
];

/** What is timed, and how often it is done in the longer one of two runs: some tenths of a second. */
const TASKS = [
  { task: "read", title: "read", count: 60_000 },
  { task: "issue", title: "issue", count: 60_000 },
  { task: "repeat", title: "read again", count: 600_000 },
] as const;

/** Times reading and issuing tokens inside workerd, and prints a median per layout. */
export async function benchTokens(teardown: Teardown): Promise<void> {
  const loop = await serveLoop(teardown, LOOP);
  console.log(`\nTokens in workerd ${loop.version}: µs each, medians of ${ROUNDS} rounds.`);
  console.log(
    renderRow(
      "server id + nonce",
      TASKS.map(({ title }) => title),
    ),
  );
  await Promise.race([measure(loop), loop.broken]);
}

async function measure(loop: Loop): Promise<void> {
  for (const { title: layout, generator, serverIdBytes, nonceBytes } of LAYOUTS) {
    const medians: string[] = [];
    for (const { task, title, count } of TASKS) {
      const query = {
        generator,
        serverIdBytes: String(serverIdBytes),
        nonceBytes: String(nonceBytes),
        task,
      };
      const took = await medianOf(loop, { title: `${layout}, ${title}`, query, count });
      medians.push(took.toFixed(2));
    }
    console.log(renderRow(layout, medians));
  }
}
