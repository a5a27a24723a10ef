import type { IncomingMessage, ServerResponse } from "node:http";
import { type Backend, startBackend } from "../support/backend.ts";

/** Ids of the sample backends that are in the pool from the start. */
export const SAMPLE_IDS = ["a", "b", "c"] as const;

/** Id of the sample backend that runs beside them, to be added by hand. */
export const SPARE_ID = "spare";

/** Starts a backend that answers with one line: who it is and what it was asked. */
export function startSample(id: string): Promise<Backend> {
  return startBackend(id, (request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    response.setHeader("content-type", "text/plain; charset=utf-8");
    response.setHeader("x-backend", id);
    response.end(`${id} answers ${request.method ?? ""} ${request.url ?? ""}\n`);
  });
}
