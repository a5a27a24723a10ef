import { networkOf } from "../core/identify.ts";
import { encodeTrace } from "../core/trace.ts";
import { Tracer } from "../core/tracer.ts";
import { clock } from "./leased.ts";
import type { Passage } from "./passage.ts";
import { checkTrace, TRACE_HEADER } from "./trace-signature.ts";

/**
 * Serves a request that asks for a trace: with one if an operator has signed for it, else like any other. One with a forged
 * signature counts as a guess at an operator's token, as anybody can sign with whatever he takes for one.
 */
export async function serveTraced(
  passage: Passage,
  serve: (passage: Passage) => Response | Promise<Response>,
): Promise<Response> {
  const { traceHeader, env, headers: received } = passage;
  const { traceGuesses } = passage.isolate;
  const nowMs = clock();
  const network = networkOf(received.get("cf-connecting-ip") ?? "");
  if (traceGuesses.waitMs(network, nowMs) > 0) return serve(passage);
  const worth = await checkTrace(traceHeader ?? "", env["OPERATOR_TOKENS"], nowMs);
  if (worth === "forged") traceGuesses.countWrong(network, nowMs);
  if (worth !== "signed") return serve(passage);
  traceGuesses.countRight(network);
  const tracer = new Tracer();
  passage.tracer = tracer;
  const answer = await serve(passage);
  const { status, statusText, webSocket } = answer;
  const headers = new Headers(answer.headers);
  headers.set(TRACE_HEADER, encodeTrace(tracer.trace));
  return webSocket === null
    ? new Response(answer.body, { status, statusText, headers, encodeBody: "manual" })
    : new Response(null, { status, webSocket, headers });
}
