import type { MiddlewareHandler } from "hono";
import { problem } from "./answer.ts";
import type { AdminContext } from "./context.ts";

/** Reads the whole body before anything is done: one that is too long, or breaks off, is the client's mistake. */
export function takeBody(maxBytes: number): MiddlewareHandler<AdminContext> {
  return async (context, next) => {
    const { body, headers } = context.req.raw;
    const text = Number(headers.get("content-length")) > maxBytes ? "too long" : await read(body, maxBytes);
    if (text === "too long") {
      return problem(context, {
        status: 413,
        title: "Too large",
        detail: `body must be at most ${maxBytes} bytes`,
      });
    }
    if (text === "broken off") {
      return problem(context, { status: 400, title: "Bad request", detail: "the body did not arrive whole" });
    }
    context.set("body", text.body);
    await next();
    return undefined;
  };
}

type Reading = { readonly body: string } | "too long" | "broken off";

async function read(stream: ReadableStream<Uint8Array> | null, maxBytes: number): Promise<Reading> {
  if (stream === null) return { body: "" };
  const decoder = new TextDecoder();
  let bytes = 0;
  let body = "";
  try {
    for await (const chunk of stream) {
      bytes += chunk.length;
      if (bytes > maxBytes) return "too long";
      body += decoder.decode(chunk, { stream: true });
    }
  } catch {
    return "broken off";
  }
  return { body: body + decoder.decode() };
}
