import { expect, it } from "vitest";
import type { DirectoryCommand } from "../../durable/model/command.ts";
import type { RoutePreview } from "../../durable/model/preview.ts";
import type { Route } from "../../durable/model/route.ts";
import { applyDirectoryCommand } from "../../durable/state/directory-command.ts";
import { newDirectory } from "../../durable/state/directory-state.ts";
import { rehearseRoute } from "../../durable/state/rehearse-route.ts";
import { createKeyedHash } from "../../worker/core/keyed-hash.ts";
import { previewRoute } from "../../worker/core/route-preview.ts";
import { Split } from "../../worker/core/split.ts";
import { poolName, route, routeId } from "./support/build.ts";
import { frozen } from "./support/frozen.ts";

const ANY = { ifMatch: null, ifAbsent: false };
const STATE = {
  ...newDirectory("first-life", "f0".repeat(16)),
  version: 7,
  pools: ["shop", "next", "old"].map(poolName),
};

function previewOf(routes: readonly Route[], command: DirectoryCommand): RoutePreview {
  const state = frozen({ ...STATE, routes });
  const rehearsal = rehearseRoute(state, { command, precondition: ANY });
  const made = applyDirectoryCommand(state, command, ANY);
  if (!rehearsal.ok || !made.ok) throw new Error(JSON.stringify([rehearsal, made]));
  expect(rehearsal.value.applied).toEqual(made.value.applied);
  return previewRoute(rehearsal.value);
}

function splitOf(weights: Readonly<Record<string, number>>): Route {
  return route("r", { split: Object.entries(weights).map(([pool, weight]) => ({ pool, weight })) });
}

function put({ id, ...told }: Route): DirectoryCommand {
  return { kind: "put-route", id, route: told };
}

/** Clients, percent, that a real split under the directory's secret leads elsewhere. */
function measure(before: Route, after: Route): number {
  const hash = createKeyedHash(STATE.secret);
  const [was, is] = [before, after].map(({ split = [] }) => new Split(routeId("r"), split, hash));
  const names = Array.from({ length: 5_000 }, (_, index) => `tls ${index}`);
  return names.filter((name) => was?.choose(name, 0) !== is?.choose(name, 0)).length / 50;
}

it.each([
  ["more for one", { shop: 90, next: 10 }, { shop: 80, next: 20 }, 10],
  ["all for one", { shop: 3, next: 1 }, { shop: 0, next: 1 }, 75],
  ["a third", { shop: 1, next: 1 }, { shop: 1, next: 1, old: 2 }, 50],
])("tells which part of the clients a split moves: %s", (_, was, is, percent) => {
  const [before, after] = [splitOf(was), splitOf(is)];
  const { clientsMovedPercent, clientsErrorPercent } = previewOf([before], put(after));
  expect(Math.abs((clientsMovedPercent ?? -100) - percent)).toBeLessThan(5 * clientsErrorPercent);
  expect(Math.abs((clientsMovedPercent ?? -100) - measure(before, after))).toBeLessThan(
    15 * clientsErrorPercent,
  );
});

it("tells the shares of pools before and after", () => {
  const shown = previewOf([route("r")], put(splitOf({ shop: 9, next: 1 })));
  expect(shown).toMatchObject({
    version: 7,
    nextVersion: 8,
    shares: [
      { pool: "shop", before: 100, after: 90 },
      { pool: "next", before: 0, after: 10 },
    ],
  });
});

it("compares nothing where a route comes or goes, and moves nobody where only its path changes", () => {
  const removal: DirectoryCommand = { kind: "remove-route", id: routeId("r") };
  expect(previewOf([route("r")], removal)).toMatchObject({
    clientsMovedPercent: null,
    shares: [{ pool: "shop", before: 100, after: 0 }],
  });
  expect(previewOf([], put(route("r")))).toMatchObject({ created: true, clientsMovedPercent: null });
  expect(previewOf([route("r")], put(route("r", { path: "/api" })))).toMatchObject({
    clientsMovedPercent: 0,
    clientsErrorPercent: 0,
  });
});
