import { Complaint } from "./complaint.ts";
import { cpuTimeMs } from "./cpu-time.ts";
import type { Processes } from "./processes.ts";
import { type Client, CONNECTIONS, pathOf } from "./requests.ts";
import type { RunningWorker } from "./workerd.ts";

/** An answer that takes longer is an error, seconds. */
const TIMEOUT_SECONDS = 5;

/** What a worker did with all the load it could take. */
export interface SaturatedRun {
  readonly requestsPerSecond: number;
  /** CPU time of the whole workerd process, its Durable Objects included, per request; microseconds. */
  readonly cpuUs: number;
  /** Share of one core that workerd used, 0…1. */
  readonly busyRatio: number;
}

/** How to saturate a worker. */
export interface Saturation {
  readonly worker: RunningWorker;
  /** Path of the script that `wrkScript` makes. */
  readonly script: string;
  readonly bodyBytes: number;
  readonly seconds: number;
}

interface WrkSummary {
  readonly requests: number;
  readonly durationUs: number;
  readonly bytes: number;
  /** Connections refused or broken, answers too late, and statuses above 399. */
  readonly errors: number;
}

/** Sends as much as a worker takes over all connections, and measures what it costs. wrk runs where this process does. */
export async function saturate(processes: Processes, saturation: Saturation): Promise<SaturatedRun> {
  const { worker, script, bodyBytes, seconds } = saturation;
  const args = ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, `--timeout=${TIMEOUT_SECONDS}s`, "-s", script];
  const command = { program: "wrk", args: [...args, `http://127.0.0.1:${worker.port}/`], core: null };
  const cpuBeforeMs = await cpuTimeMs(worker.pid);
  const output = await processes.run(command, (seconds + 2 * TIMEOUT_SECONDS) * 1_000);
  const cpuMs = (await cpuTimeMs(worker.pid)) - cpuBeforeMs;
  const { requests, durationUs, bytes, errors } = parseSummary(output);
  if (errors > 0 || requests === 0 || bytes < requests * bodyBytes)
    throw new Complaint(
      `${requests} requests were answered with ${bytes} bytes, ${errors} went wrong\n${output}`,
    );
  return {
    requestsPerSecond: (requests * 1e6) / durationUs,
    cpuUs: (cpuMs * 1_000) / requests,
    busyRatio: (cpuMs * 1_000) / durationUs,
  };
}

/** The script for wrk: requests of all clients in turns, made beforehand, and a summary that can be parsed. */
export function wrkScript(clients: readonly Client[], bodyBytes: number): string {
  const requests = clients.map(({ headers }) => {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    return [`GET ${pathOf(bodyBytes)} HTTP/1.1`, ...lines, "", ""].join("\r\n");
  });
  // For text in ASCII a literal of Lua looks as in JSON.
  return `local requests = {
${requests.map((request) => `  ${JSON.stringify(request)},`).join("\n")}
}
local turn = 0

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.timeout + e.status
  io.write(string.format('{"requests":%d,"durationUs":%d,"bytes":%d,"errors":%d}\\n',
    summary.requests, summary.duration, summary.bytes, errors))
end
`;
}

function parseSummary(output: string): WrkSummary {
  const line = /^\{.*\}$/m.exec(output)?.[0];
  if (line === undefined) throw new Complaint(`wrk gave no summary\n${output}`);
  return JSON.parse(line) as WrkSummary;
}
