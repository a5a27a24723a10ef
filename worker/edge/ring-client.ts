import { proxyDurable } from "itty-durable/proxy-durable.js";
import type { Result } from "../../durable/model/result.ts";
import { ObjectUnavailable } from "../core/object-unavailable.ts";
import { within } from "./elapse.ts";

/** The one directory of a deployment. */
export const DIRECTORY_NAME = "directory";

/** Longest wait for an object, milliseconds. */
const CALL_TIMEOUT_MS = 5_000;

/** A call that the object may take its time for. */
export interface Wait {
  /** How long it was asked to wait at most, milliseconds. */
  readonly waitMs: number;
  /** Aborted when nobody waits any more; the object then drops the call. */
  readonly gone: AbortSignal;
}

/**
 * Calls a method of an object with one argument, which travels in the body and so may be large. Requests to stubs are
 * made here and nowhere else, from nothing a client sent: whoever controls one would own the object. The stub is a new one
 * each time, since one that has thrown may be broken. Nothing is repeated here: the runtime does that itself with what has
 * not reached the object (https://developers.cloudflare.com/durable-objects/best-practices/automatic-retries/).
 *
 * @throws ObjectUnavailable
 */
export async function callObject<Value>(
  namespace: DurableObjectNamespace,
  name: string,
  method:
    | "apply"
    | "check"
    | "preview"
    | "sync"
    | "events"
    | "versions"
    | "documentAt"
    | "difference"
    | "lostLeases"
    | "exportTokens"
    | "converge"
    | "receipts"
    | "published",
  argument: unknown,
  wait: Wait | null = null,
): Promise<Result<Value>> {
  try {
    const response = await namespace.getByName(name).fetch(`https://itty-durable/do/call/${method}`, {
      method: "POST",
      headers: { "do-name": name },
      body: JSON.stringify(argument),
      signal: timeout(wait),
    });
    if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`);
    return await response.json<Result<Value>>();
  } catch (cause) {
    throw new ObjectUnavailable(`${method} of ${name} failed`, cause);
  }
}

/**
 * Calls a method of an object that takes no argument, through itty-durable's proxy.
 *
 * @throws ObjectUnavailable
 */
export async function readObject<Value>(
  namespace: DurableObjectNamespace,
  name: string,
  method: "view" | "status",
): Promise<Result<Value>> {
  try {
    // A new proxy for every call: the header object of a shared one keeps the name of another object.
    const object: Record<string, () => Promise<Result<Value>>> = proxyDurable(namespace, { parse: true }).get(
      name,
    );
    const call = object[method];
    if (call === undefined) throw new Error("the proxy has no such method");
    return await within(CALL_TIMEOUT_MS, call());
  } catch (cause) {
    throw new ObjectUnavailable(`${method} of ${name} failed`, cause);
  }
}

function timeout(wait: Wait | null): AbortSignal {
  return wait === null
    ? AbortSignal.timeout(CALL_TIMEOUT_MS)
    : AbortSignal.any([AbortSignal.timeout(CALL_TIMEOUT_MS + wait.waitMs), wait.gone]);
}
