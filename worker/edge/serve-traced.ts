import { encodeTrace } from "../core/trace.ts";
import { Tracer } from "../core/tracer.ts";
import { clock } from "./leased.ts";
import type { Passage } from "./passage.ts";
import { maySeeTrace, TRACE_HEADER } from "./trace-signature.ts";

/** Serves a request that asks for a trace: with one if an operator has signed for it, else like any other. */
export async function serveTraced(
  passage: Passage,
  serve: (passage: Passage) => Response | Promise<Response>,
): Promise<Response> {
  const { traceHeader, env } = passage;
  const maySee = await maySeeTrace(traceHeader ?? "", env["OPERATOR_TOKENS"], clock());
  if (!maySee) return serve(passage);
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
