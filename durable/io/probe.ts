import { connect } from "cloudflare:sockets";
import { isFetcher } from "../model/fetcher.ts";
import type { ProbeResult, ProbeTask, ProbeVerdict } from "../model/health.ts";
import type { Probe } from "../model/health-check.ts";
import {
  isPlatformRefusal,
  LONGEST_REFUSAL_BYTES,
  mayBePlatformRefusal,
  PLATFORM_FAILURES,
  PLATFORM_TIMEOUT,
} from "../model/platform.ts";
import { now } from "./clock.ts";

/** What the environment binds to a name; undefined: nothing. */
type Bindings = (name: string) => unknown;
type HttpProbe = Extract<Probe, { readonly kind: "http" }>;

/** Makes one probe. It ends within its timeout, whatever the backend does, and leaves nothing open. */
export async function makeProbe(task: ProbeTask, bindings: Bindings): Promise<ProbeResult> {
  const { probe } = task;
  const sinceMs = now();
  const verdict = await within(probe.timeoutMs, (signal) =>
    probe.kind === "http" ? askHttp(task, probe, bindings, signal) : askTcp(task, signal),
  );
  return { ...verdict, tookMs: now() - sinceMs };
}

/** The signal is raised at the end in any case: what is still open is closed by it. */
async function within(
  timeoutMs: number,
  ask: (signal: AbortSignal) => Promise<ProbeVerdict>,
): Promise<ProbeVerdict> {
  const ending = new AbortController();
  let timer: number | null = null;
  const late = new Promise<ProbeVerdict>((resolve) => {
    timer = setTimeout(() => resolve(failed(`not over after ${timeoutMs} ms`)), timeoutMs);
  });
  const asked = ask(ending.signal).catch((error: unknown) => failed(reasonOf(error)));
  const verdict = await Promise.race([asked, late]);
  clearTimeout(timer);
  ending.abort();
  return verdict;
}

function failed(evidence: string, isImmediate = false): ProbeVerdict {
  return { kind: "failed", isImmediate, evidence };
}

function passed(evidence: string, health: "healthy" | "degraded" = "healthy"): ProbeVerdict {
  return { kind: "passed", health, isStopping: false, evidence };
}

/** In words of our own: what is thrown behind a binding may hold anything, and evidence is shown and sent around. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : "";
  if (/connection (?:was )?lost/i.test(message)) return "the connection was lost";
  return /cannot connect|refused/i.test(message) ? "the connection was refused" : "no answer";
}

async function askHttp(
  { id, url, via }: ProbeTask,
  probe: HttpProbe,
  bindings: Bindings,
  signal: AbortSignal,
): Promise<ProbeVerdict> {
  const headers = new Headers({ "user-agent": "ringmaster-probe" });
  const missing = setHeaders(headers, probe, bindings);
  if (missing !== null) return failed(missing);
  const init: RequestInit = {
    method: probe.method,
    headers,
    redirect: "manual",
    cache: "no-store",
    signal,
  };
  // Not resolved against the URL: a path that begins with two slashes would name another host.
  const target = new URL(url).origin + probe.path;
  if (via === null) return judge(await fetch(target, init), probe);
  const binding = bindings(via);
  if (!isFetcher(binding)) return failed(`${via}, through which ${id} is reached, is not a Fetcher binding`);
  return judge(await binding.fetch(target, init), probe);
}

/** Returns what is wrong with them, without their values; null: nothing. */
function setHeaders(headers: Headers, probe: HttpProbe, bindings: Bindings): string | null {
  for (const { name, value, secret } of probe.headers) {
    const text = secret === undefined ? value : bindings(secret);
    if (typeof text !== "string") return `the secret ${secret} for the header ${name} is not set`;
    try {
      headers.set(name, text);
    } catch {
      // The error names the value.
      return `the header ${name} cannot hold the value of the secret ${secret}`;
    }
  }
  return null;
}

async function judge(response: Response, probe: HttpProbe): Promise<ProbeVerdict> {
  const { status, headers } = response;
  const { failHeader, degradedHeader, contains } = probe;
  const seen = `status ${status}`;
  if (PLATFORM_FAILURES.has(status) || status === PLATFORM_TIMEOUT)
    return failed(`${seen}: the platform did not reach it`);
  if (failHeader !== null && headers.has(failHeader)) return failed(`${seen} with ${failHeader}`, true);
  const isExpected = includesStatus(probe.expect, status);
  const text = await readWhatCounts(response, isExpected, probe);
  if (mayBePlatformRefusal(response) && isPlatformRefusal(text))
    return failed(`${seen}: the platform does not fetch this address (1003)`);
  if (status === 404 && probe.stopOn404)
    return { kind: "passed", health: "healthy", isStopping: true, evidence: seen };
  if (!isExpected) return failed(seen);
  if (contains !== null && !holds(text, contains)) return failed(`${seen} without the text expected`);
  if (degradedHeader === null || !headers.has(degradedHeader)) return passed(seen);
  return passed(`${seen} with ${degradedHeader}`, "degraded");
}

function includesStatus(expected: HttpProbe["expect"], status: number): boolean {
  return expected.some((range) => {
    const [from = 0, to = from] = range.split("-").map(Number);
    return from <= status && status <= to;
  });
}

/** Whether a text holds another, letters in either case. */
function holds(text: string, wanted: string): boolean {
  return text.toUpperCase().includes(wanted.toUpperCase());
}

/** As much of a body as the verdict hangs on; empty where it hangs on none. */
async function readWhatCounts(
  response: Response,
  isExpected: boolean,
  { contains, bodyBytes }: HttpProbe,
): Promise<string> {
  if (mayBePlatformRefusal(response)) return readStart(response, LONGEST_REFUSAL_BYTES, null);
  return isExpected && contains !== null ? readStart(response, bodyBytes, contains) : "";
}

/** The beginning of a body, as far as where it holds `wanted`, and never more than `maxBytes` of it. */
async function readStart({ body }: Response, maxBytes: number, wanted: string | null): Promise<string> {
  if (body === null) return "";
  // Such a reader gets no more than it has room for.
  const reader = body.getReader({ mode: "byob" });
  const decoder = new TextDecoder();
  let text = "";
  for (let leftBytes = maxBytes; leftBytes > 0; ) {
    const { value, done } = await reader.read(new Uint8Array(leftBytes));
    if (done) break;
    leftBytes -= value.byteLength;
    const more = decoder.decode(value, { stream: true });
    text += more;
    // Only the end is new: a body that drips byte by byte would otherwise be searched as often.
    if (wanted !== null && holds(text.slice(-more.length - wanted.length), wanted)) break;
  }
  reader.cancel().catch(ignore);
  return text;
}

/** A connection that opens is all there is to it; the signal closes it again. */
async function askTcp({ url }: ProbeTask, signal: AbortSignal): Promise<ProbeVerdict> {
  const { hostname, port, protocol } = new URL(url);
  const socket = connect(`${hostname}:${port === "" ? (protocol === "https:" ? 443 : 80) : port}`);
  socket.closed.catch(ignore);
  signal.addEventListener("abort", () => void socket.close().catch(ignore));
  await socket.opened;
  return passed("connected");
}

/** The verdict is there already, and by how something ends after it no more is learnt. */
function ignore(): void {}
