import { Hono } from "hono";
import { LIMITS } from "../../durable/model/limits.ts";
import type { DirectoryView } from "../../durable/model/view.ts";
import type { GuessLimiter } from "../core/guess-limiter.ts";
import { ObjectUnavailable } from "../core/object-unavailable.ts";
import type { Settings } from "../core/settings.ts";
import type { Target } from "../core/target.ts";
import { DIRECTORY_NAME, readObject } from "../edge/ring-client.ts";
import { problem, refused, unavailable, versioned } from "./answer.ts";
import { authenticate } from "./auth.ts";
import { takeBody } from "./body.ts";
import type { AdminContext } from "./context.ts";
import { document } from "./document.ts";
import { readDryRun, takeNoDryRun } from "./dry-run.ts";
import { explain, issueTrace } from "./explain.ts";
import { directoryHistory, poolHistory } from "./history.ts";
import { createOpenApi } from "./openapi.ts";
import { pools } from "./pools.ts";
import { directoryOf, routes } from "./routes.ts";
import { showConvergence } from "./wait.ts";

/** Whether a request is for the admin API and so never for a backend, however its path is written. */
export function isAdminRequest({ hostname, path }: Target, { adminHost, adminPrefix }: Settings): boolean {
  if (adminHost !== null) return hostname === adminHost;
  const plain = path.includes("%") ? decoded(path) : path;
  return (
    plain.startsWith(adminPrefix) &&
    (plain.length === adminPrefix.length || plain[adminPrefix.length] === "/")
  );
}

/** A path with its escapes of ASCII undone, which is all that a prefix may hold; one that makes no sense stays, alone. */
function decoded(path: string): string {
  return path.replaceAll(/%[0-7][0-9a-f]/gi, (escaped) => decodeURIComponent(escaped));
}

/** The admin API: authenticate, parse, ask an object, render. */
export function createAdmin(settings: Settings, limiter: GuessLimiter): Hono<AdminContext> {
  const admin = new Hono<AdminContext>();
  admin.use(async (context, next) => {
    context.set("settings", settings);
    await next();
    context.header("cache-control", "no-store");
  });
  admin.use(authenticate(limiter));
  admin.use(readDryRun);
  const [take, takeDocument] = [takeBody(LIMITS.bodyBytes), takeBody(LIMITS.documentBytes)];
  admin.use((context, next) => {
    const isWhole = context.req.path === `${settings.adminPrefix}/document`;
    return (isWhole ? takeDocument : take)(context, next);
  });
  admin.route(`${settings.adminPrefix}/document`, document);
  admin.route(settings.adminPrefix, directoryHistory);
  admin.route(`${settings.adminPrefix}/pools`, poolHistory);
  admin.route(`${settings.adminPrefix}/pools`, pools);
  admin.route(`${settings.adminPrefix}/routes`, routes);
  admin.post(`${settings.adminPrefix}/traces`, takeNoDryRun, issueTrace);
  admin.post(`${settings.adminPrefix}/explain`, takeNoDryRun, explain);
  admin.get(`${settings.adminPrefix}/status`, async (context) => {
    const view = await readObject<DirectoryView>(context.env.DIRECTORY, DIRECTORY_NAME, "view");
    return view.ok ? versioned(context, view.value.version, view.value) : refused(context, view.refusal);
  });
  // Not below /routes, where it would be the name of a route.
  admin.get(`${settings.adminPrefix}/convergence`, async (context) => {
    const shown = await showConvergence(context, directoryOf(context));
    return shown.ok ? shown.value : refused(context, shown.refusal);
  });
  admin.get(`${settings.adminPrefix}/openapi.json`, (context) =>
    context.json(createOpenApi(settings.adminPrefix)),
  );
  admin.notFound((context) =>
    problem(context, {
      status: 404,
      title: "Not found",
      detail: `${context.req.method} ${context.req.path} is no endpoint; there are ${settings.adminPrefix}/pools, /routes, /document, /versions, /rollback, /lost-leases, /convergence, /traces, /explain, /status and /openapi.json`,
    }),
  );
  admin.onError((error, context) => {
    console.error(error);
    if (!(error instanceof ObjectUnavailable)) {
      return problem(context, {
        status: 500,
        title: "Internal error",
        detail: "this is a bug; it was logged",
      });
    }
    return unavailable(context);
  });
  return admin;
}
