import { setTimeout } from "node:timers/promises";
import { expect, it } from "vitest";
import type { Answer } from "./support-client.ts";
import { problemIn } from "./support-problem.ts";
import { raiseStage, seesItsEnd } from "./support-stage.ts";

const HASTY_MS = 200;

const stage = raiseStage({ patient: { headerTimeoutMs: 2_000 }, hasty: { headerTimeoutMs: HASTY_MS } });

const LATE = [504, "Backend timed out"];

// Deadlines may be watched over together, once in a while: neither where in that while a request comes must matter, nor
// that none comes after it. This is the first test, so that its first request is the first of all.
it("answers every request of one second with 504 when its headers do not come, though no other follows", async () => {
  const scene = stage.scene("patient");
  scene.answers(() => {});
  const answers: Promise<Answer>[] = [];
  for (let index = 0; index < 5; index++) {
    answers.push(scene.ask());
    await setTimeout(200);
  }
  for (const answer of await Promise.all(answers)) expect(problemIn(answer)).toEqual(LATE);
});

it("ends the request at the backend, which alone is blamed", async () => {
  const scene = stage.scene("hasty");
  const arrival = scene.arrival();
  const answer = scene.ask();
  await seesItsEnd(await arrival);
  expect(problemIn(await answer)).toEqual(LATE);
  await expect
    .poll(() => scene.backendStatus(), { timeout: 5_000 })
    .toMatchObject({ inFlight: 0, outcomes: { timed_out: 1, client_gone: 0, unreachable: 0 } });
});

it("gives a body more time than its headers", async () => {
  const scene = stage.scene("hasty");
  scene.answers((_, response) => {
    response.write("slow");
    void setTimeout(2 * HASTY_MS).then(() => response.end(" but sure"));
  });
  expect(await scene.ask()).toMatchObject({ status: 200, body: Buffer.from("slow but sure") });
});
