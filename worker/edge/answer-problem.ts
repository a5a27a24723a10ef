import { type Problem, renderProblem } from "../core/problem.ts";

/** Answers a request with a problem, in the form its client accepts and under an id that support can ask for. */
export function answerProblem(problem: Problem, request: Request): Response {
  const requestId = request.headers.get("cf-ray") ?? crypto.randomUUID();
  return renderProblem(problem, request.headers.get("accept"), requestId);
}
