import { expect, it } from "vitest";
import { tellInheritance } from "../../worker/core/headers.ts";
import { backendId } from "./support/build.ts";

const SESSION = "0123456789abcdef";

/** What a backend is told of a session it inherits, whatever the client claimed. */
function told(
  headers: Readonly<Record<string, string>>,
  inheritance: Parameters<typeof tellInheritance>[1],
): Readonly<Record<string, string>> {
  const sent = new Headers(headers);
  tellInheritance(sent, inheritance);
  return Object.fromEntries(sent);
}

const CLAIMS = { "Ring-Session": "fedcba9876543210", "Ring-Previous-Backend": "victim" };

it("tells a backend whose session it takes over", () => {
  expect(told({ accept: "*/*" }, { sessionId: SESSION, previous: backendId("a") })).toEqual({
    accept: "*/*",
    "ring-session": SESSION,
    "ring-previous-backend": "a",
  });
});

it("tells nothing where nothing is taken over", () => {
  expect(told({ accept: "*/*" }, null)).toEqual({ accept: "*/*" });
});

it("never passes on what a client claims to be taken over", () => {
  expect(told(CLAIMS, null)).toEqual({});
  expect(told(CLAIMS, { sessionId: SESSION, previous: backendId("a") })).toEqual({
    "ring-session": SESSION,
    "ring-previous-backend": "a",
  });
});
