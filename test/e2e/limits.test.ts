import { expect, it } from "vitest";
import { valuesOf } from "./support-client.ts";
import { problemIn } from "./support-problem.ts";
import { raiseStage } from "./support-stage.ts";

const stage = raiseStage({ busy: { maxInFlight: 2 }, shed: { shed: { newPercent: 100 } } });

it("refuses what exceeds the limit in flight, and takes requests again when one is answered", async () => {
  const scene = stage.scene("busy");
  const open = [];
  for (let count = 0; count < 2; count++) {
    const arrival = scene.arrival();
    const answer = scene.ask();
    open.push({ ...(await arrival), answer });
  }
  const refused = await scene.ask();
  expect(problemIn(refused)).toEqual([503, "All backends busy"]);
  expect(valuesOf(refused.headers, "retry-after")).toEqual(["1"]);
  for (const { response, answer } of open) {
    response.end();
    expect((await answer).status).toBe(200);
  }
  scene.answers((_, response) => response.end());
  expect((await scene.ask()).status).toBe(200);
});

it("turns away what is shed, and says when to come again", async () => {
  const scene = stage.scene("shed");
  scene.answers((_, response) => response.end());
  const refused = await scene.ask();
  expect(problemIn(refused)).toEqual([503, "Overloaded"]);
  expect(valuesOf(refused.headers, "retry-after")).toEqual(["10"]);
});
