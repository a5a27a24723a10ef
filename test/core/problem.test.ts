import { expect, it } from "vitest";
import {
  LOOP,
  NO_BACKEND,
  NO_ROUTE,
  NO_SNAPSHOT,
  renderProblem,
  SESSION_LOST,
  TIMED_OUT,
  UNREACHABLE,
} from "../../worker/core/problem.ts";

it("answers with problem+json, and says what to ask us about", async () => {
  const response = renderProblem(NO_BACKEND, null, "ray-1");
  expect(response.status).toBe(503);
  expect(Object.fromEntries(response.headers)).toEqual({
    "cache-control": "no-store",
    "content-type": "application/problem+json",
    "retry-after": "5",
    "x-request-id": "ray-1",
  });
  expect(await response.json()).toEqual({
    type: "about:blank",
    status: 503,
    title: "No backend available",
    detail: "No backend takes this request at the moment.",
    requestId: "ray-1",
  });
});

it.each([
  null,
  "",
  " ",
  "*/*",
  "application/json",
  "application/problem+json",
  "APPLICATION/JSON;q=0.9",
  "application/*",
  "image/avif,*/*;q=0.8",
])("answers with JSON to a client that accepts %j", (accept) => {
  const { headers } = renderProblem(NO_ROUTE, accept, "ray-1");
  expect(headers.get("content-type")).toBe("application/problem+json");
});

it.each([
  "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  "TEXT/HTML",
  "application/json;q=0.5, text/html",
  "text/plain",
  "image/png",
  "application/xml",
])("answers with a page to a client that accepts %j", async (accept) => {
  const response = renderProblem(NO_ROUTE, accept, "ray-1");
  expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(await response.text()).toContain("<h1>404 No route</h1>");
});

it("writes a request id that a client chose as text", async () => {
  const page = await renderProblem(NO_ROUTE, "text/html", "<script>&").text();
  expect(page).toContain("&lt;script>&amp;");
  expect(page).not.toContain("<script>");
});

it.each([NO_ROUTE, NO_SNAPSHOT, NO_BACKEND, SESSION_LOST, UNREACHABLE, TIMED_OUT, LOOP])(
  "says of a $status when to come back if that helps, and lets nobody keep it",
  (problem) => {
    const { status, headers } = renderProblem(problem, null, "ray-1");
    expect(status).toBe(problem.status);
    expect(headers.get("cache-control")).toBe("no-store");
    expect(headers.has("retry-after")).toBe(status === 503);
  },
);
