import { expect } from "vitest";
import { type Answer, valuesOf } from "./support-client.ts";

/** An error of ours in short, once it proved complete and silent about what lies behind it. */
export function problemIn(answer: Answer): readonly [status: number, title: string] {
  const [requestId] = valuesOf(answer.headers, "x-request-id");
  expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
  expect(valuesOf(answer.headers, "content-type")).toEqual(["application/problem+json"]);
  expect(valuesOf(answer.headers, "cache-control")).toEqual(["no-store"]);
  const problem = JSON.parse(answer.body.toString());
  expect(problem).toEqual({
    type: "about:blank",
    status: answer.status,
    title: expect.stringMatching(/^[A-Z]/),
    detail: expect.stringMatching(/^[A-Z][^.]*\.$/),
    requestId,
  });
  expectDiscretion(answer);
  return [answer.status, problem.title];
}

/** Neither an address nor a stack, nor the name of a file. */
export function expectDiscretion({ headers, body }: Answer): void {
  const text = `${headers.flat().join("\n")}\n${body.toString()}`;
  expect(text).not.toMatch(/127\.0\.0\.1|localhost|Error:|\.[jt]s:\d|workerd|error code/);
}
