import type { IncomingMessage, ServerResponse } from "node:http";
import { type Backend, startBackend } from "../support/backend.ts";

/** Ids of the sample backends that are in the pool from the start. */
export const SAMPLE_IDS = ["a", "b", "c"] as const;

/** Id of the sample backend that runs beside them, to be added by hand. */
export const SPARE_ID = "spare";

const RESERVED_IDS: ReadonlySet<string> = new Set([...SAMPLE_IDS, SPARE_ID]);

/** Whether what a pool has is a sample of some run, and not one's own backend that happens to have its id. */
export function isSample({ id, url }: { readonly id: string; readonly url: string }): boolean {
  return RESERVED_IDS.has(id) && /^http:\/\/127\.0\.0\.1:\d+$/.test(url);
}

/** Starts a backend that answers with one line: who it is and what it was asked. */
export function startSample(id: string): Promise<Backend> {
  return startBackend(id, (request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    response.setHeader("content-type", "text/plain; charset=utf-8");
    response.setHeader("x-backend", id);
    response.end(`${id} answers ${request.method ?? ""} ${request.url ?? ""}\n`);
  });
}
