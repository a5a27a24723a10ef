import * as fc from "fast-check";
import { expect, it } from "vitest";
import { type Enrolled, Roll } from "../../worker/edge/roll.ts";

const item = (): Enrolled => ({ place: 0 });

it("keeps whom it was given, each until it is removed, as a set would", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 200 }), (steps) => {
      const items = Array.from({ length: 21 }, item);
      const roll = new Roll<Enrolled>();
      const expected = new Set<Enrolled>();
      for (const each of steps.map((step) => items[step] ?? item())) {
        if (expected.delete(each)) roll.remove(each);
        else {
          expected.add(each);
          roll.add(each);
        }
        expect(new Set(roll.all())).toEqual(expected);
        expect(roll.all()).toHaveLength(expected.size);
      }
    }),
  );
});

it("stays as it is when somebody is removed who is not on it, or not any more", () => {
  const roll = new Roll<Enrolled>();
  const [first, second] = [item(), item()];
  roll.add(first);
  roll.remove(second);
  expect(roll.all()).toEqual([first]);
  roll.remove(first);
  roll.remove(first);
  expect(roll.all()).toEqual([]);
});
