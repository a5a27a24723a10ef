import { expect, it } from "vitest";
import { createAdmin } from "../../worker/admin/app.ts";
import { GROUPS } from "../../worker/admin/openapi/operations.ts";
import { GuessLimiter } from "../../worker/core/guess-limiter.ts";
import { parseSettings } from "../../worker/core/settings.ts";

it("tells of every endpoint there is, and of no other", () => {
  const served = createAdmin(parseSettings({ ADMIN_PREFIX: "/_ring" }), new GuessLimiter())
    .routes.filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path}`);
  const told = GROUPS.flatMap(({ operations }) =>
    operations.map(({ method, path }) => `${method.toUpperCase()} /_ring${path}`),
  );
  // One with a guard in front is listed twice.
  expect(told.toSorted()).toEqual([...new Set(served)].toSorted());
});
