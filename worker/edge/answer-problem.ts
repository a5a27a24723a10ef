import { type Problem, renderProblem } from "../core/problem.ts";

const problems = new WeakSet<Response>();

/** Whether it is an answer of ours, and no backend's. */
export function isProblem(response: Response): boolean {
  return problems.has(response);
}

/** Answers a request with a problem, in the form its client accepts and under an id that support can ask for. */
export function answerProblem(problem: Problem, request: Request): Response {
  const requestId = request.headers.get("cf-ray") ?? crypto.randomUUID();
  const response = renderProblem(problem, request.headers.get("accept"), requestId);
  problems.add(response);
  return response;
}
