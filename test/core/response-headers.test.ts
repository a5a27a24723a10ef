import { expect, it } from "vitest";
import { responseHeadersToDrop } from "../../worker/core/headers.ts";

it.each<[number, Record<string, string>, readonly string[] | null]>([
  [200, { "content-type": "text/plain", connection: "keep-alive" }, null],
  [200, { "alt-svc": 'h3=":443"', "ring-health": "degraded" }, ["alt-svc", "ring-health"]],
  [200, { connection: "close, x-hop", "x-hop": "1", "x-end": "1" }, ["x-hop"]],
  [200, { connection: "close", "proxy-connection": "close" }, ["proxy-connection"]],
  [407, { "proxy-authenticate": "Basic" }, ["proxy-authenticate"]],
  [407, { "content-type": "text/plain" }, []],
  [401, { "www-authenticate": "Basic" }, null],
])("of a %s with %j the client does not get %j", (status, headers, dropped) => {
  expect(responseHeadersToDrop(new Headers(headers), status)).toEqual(dropped);
});
