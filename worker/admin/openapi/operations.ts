import type * as v from "valibot";
import { VersionsQuerySchema } from "../history.ts";
import { EventsQuerySchema } from "../pools.ts";
import { ReceiptsQuerySchema } from "../receipts.ts";
import type { SchemaName } from "./schemas.ts";

/** One endpoint, as the document tells of it. */
export interface Operation {
  readonly method: "get" | "put" | "patch" | "post" | "delete";
  /** Below the prefix, as hono writes it: `/pools/:pool`. */
  readonly path: string;
  /** Its `operationId`. */
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  /** What the body is, with an example that makes sense; left out: there is none. */
  readonly body?: { readonly schema: SchemaName; readonly example: object };
  readonly query?: v.StrictObjectSchema<v.ObjectEntries, v.ErrorMessage<v.StrictObjectIssue>>;
  /** Parameters that several endpoints have: `wait`, and headers. */
  readonly shared?: readonly SharedParameter[];
  /** What the answer is, unless it is a problem. */
  readonly answer: SchemaName;
  /** What it is instead with `?dry_run=1`, which then is one of `shared`. */
  readonly preview?: SchemaName;
  /** Whether it carries the version as an `ETag`. */
  readonly isVersioned: boolean;
  /** Statuses of it. */
  readonly statuses: readonly Status[];
  /** Statuses of problems. Those of authentication, and of an object that cannot be reached, are left out: any may have them. */
  readonly problems: readonly Problem[];
}

export type SharedParameter = "wait" | "dry_run" | "If-Match" | "If-None-Match" | "Ring-Reason";

export type Status = 200 | 201 | 202;

export type Problem = 400 | 403 | 404 | 409 | 412 | 413 | 422;

/** Endpoints that belong together. */
interface Group {
  readonly tag: string;
  readonly description: string;
  readonly operations: readonly Operation[];
}

type Details = Partial<Operation>;

/** Shows something. */
function show(
  path: string,
  id: string,
  answer: SchemaName,
  summary: string,
  details: Details = {},
): Operation {
  // What names something can name it wrongly, or name what is not there.
  const wrong: readonly Problem[] = details.query === undefined && details.shared === undefined ? [] : [422];
  const problems: readonly Problem[] = path.includes(":") ? [404, 422] : wrong;
  return {
    method: "get",
    path,
    id,
    summary,
    answer,
    isVersioned: true,
    statuses: [200],
    problems,
    ...details,
  };
}

/** As `show`, and its caller may wait for it to come true. */
const WAITING = { shared: ["wait"], statuses: [200, 202] } as const;

/** What an operator sends. */
const SENT: readonly Problem[] = [400, 403, 413, 422];

/** Changes something, on condition and with a reason if the caller likes, who may wait until the change governs. */
function change(
  method: Exclude<Operation["method"], "get">,
  path: string,
  id: string,
  summary: string,
  details: Details = {},
): Operation {
  return {
    method,
    path,
    id,
    summary,
    answer: "Applied",
    preview: path.startsWith("/pools") ? "PoolPreview" : "RoutePreview",
    isVersioned: true,
    shared: ["wait", "dry_run", "If-Match", "If-None-Match", "Ring-Reason"],
    statuses: [200, 202],
    problems: [...SENT, 404, 409, 412],
    ...details,
  };
}

/** As `change`, of what need not be there before. */
const MAKING = { statuses: [200, 201, 202] } as const;

/** Asks for what only an operator may know, and changes nothing. */
function ask(
  path: string,
  id: string,
  answer: SchemaName,
  summary: string,
  details: Details = {},
): Operation {
  return {
    method: "post",
    path,
    id,
    summary,
    answer,
    isVersioned: false,
    statuses: [200],
    problems: [...SENT, 404],
    ...details,
  };
}

const VERSIONS = { query: VersionsQuerySchema };
const UNVERSIONED = { isVersioned: false };

const BACKEND = { url: "https://a.example.com", weight: 2 };
const LABELLED = { label: "zone", value: "eu-1" };
const ROUTE = { host: "shop.example.com", path: "/api", pool: "shop" };
const ROLLBACK = { schema: "Rollback", example: { version: 1 } } as const;
const FORCIBLE = { schema: "Forcible", example: { force: true } } as const;

/** Every endpoint of the admin API. */
export const GROUPS: readonly Group[] = [
  {
    tag: "Directory",
    description: "The routes and the list of pools as a whole, and everything in one document.",
    operations: [
      show(
        "/status",
        "getDirectory",
        "Directory",
        "The pools, the routes, and how far their last change has come",
      ),
      show(
        "/convergence",
        "getRoutesConvergence",
        "PresentConvergence",
        "How far the last change of the routes has come",
        WAITING,
      ),
      show(
        "/versions",
        "listDirectoryVersions",
        "Versions",
        "Who changed routes and pools, newest first",
        VERSIONS,
      ),
      show(
        "/versions/:version",
        "getDirectoryVersion",
        "PastDirectory",
        "The routes as they were at a version",
      ),
      show(
        "/versions/:version/diff/:to",
        "compareDirectoryVersions",
        "Difference",
        "What is different at another version",
        UNVERSIONED,
      ),
      show(
        "/lost-leases",
        "listDirectoryLostLeases",
        "LostLeases",
        "When isolates were lost that may have been at work",
        UNVERSIONED,
      ),
      change("post", "/rollback", "rollBackRoutes", "Makes the routes of a past version hold again", {
        body: ROLLBACK,
      }),
      show(
        "/document",
        "getDocument",
        "DirectoryExport",
        "All routes and pools, as the document that can be put",
        UNVERSIONED,
      ),
      {
        method: "put",
        path: "/document",
        id: "putDocument",
        summary: "Makes all routes and pools as the document says",
        description:
          "All of it is checked first. Then it is applied pool by pool; where that is cut short, the problem says what was applied and what remains, and repeating completes it.",
        body: {
          schema: "DirectoryDocument",
          example: {
            routes: [{ id: "shop", ...ROUTE }],
            pools: [{ name: "shop", document: { backends: [] } }],
          },
        },
        shared: ["wait", "dry_run", "Ring-Reason"],
        answer: "DocumentApplied",
        preview: "DocumentPreview",
        isVersioned: false,
        statuses: [200, 202],
        problems: [...SENT, 409, 412],
      },
      show("/openapi.json", "getOpenApi", "OpenApi", "This document", UNVERSIONED),
    ],
  },
  {
    tag: "Routes",
    description: "What leads requests to pools. Their version is the directory's.",
    operations: [
      show("/routes", "listRoutes", "RouteList", "All routes"),
      show("/routes/:route", "getRoute", "Route", "One route"),
      change("put", "/routes/:route", "putRoute", "Makes a route so", {
        body: { schema: "RouteInput", example: ROUTE },
        ...MAKING,
      }),
      change("patch", "/routes/:route", "patchRoute", "Changes the fields given; null takes one away", {
        body: { schema: "RoutePatch", example: { path: "/v2" } },
      }),
      change("delete", "/routes/:route", "deleteRoute", "Removes a route"),
    ],
  },
  {
    tag: "Pools",
    description: "Interchangeable backends and their configuration.",
    operations: [
      show("/pools", "listPools", "PoolList", "Names of the pools", UNVERSIONED),
      show("/pools/:pool", "getPool", "Pool", "The pool, as the document that can be put"),
      change("put", "/pools/:pool", "putPool", "Makes the pool exactly so", {
        body: { schema: "Pool", example: { policy: "round_robin", backends: [{ id: "a", ...BACKEND }] } },
        ...MAKING,
      }),
      change("patch", "/pools/:pool", "patchPool", "Changes the fields given, inside of objects too", {
        body: { schema: "PoolPatch", example: { sync: { refreshMs: 2_000 } } },
      }),
      change("delete", "/pools/:pool", "deletePool", "Deletes a pool that no route leads to"),
      show(
        "/pools/:pool/status",
        "getPoolStatus",
        "PoolStatus",
        "Health, traffic and convergence of the pool",
      ),
      show(
        "/pools/:pool/convergence",
        "getPoolConvergence",
        "PresentConvergence",
        "How far the pool's last change has come",
        WAITING,
      ),
      show(
        "/pools/:pool/events",
        "listEvents",
        "Events",
        "What happened to the health of its backends, oldest first",
        {
          query: EventsQuerySchema,
          ...UNVERSIONED,
        },
      ),
    ],
  },
  {
    tag: "Backends",
    description: "The backends of a pool. Their version is the pool's.",
    operations: [
      show("/pools/:pool/backends", "listBackends", "BackendList", "All backends"),
      show("/pools/:pool/backends/:backend", "getBackend", "Backend", "One backend"),
      change(
        "put",
        "/pools/:pool/backends/:backend",
        "putBackend",
        "Makes a backend so; a left-out admin stays",
        {
          body: { schema: "BackendInput", example: BACKEND },
          ...MAKING,
        },
      ),
      change("patch", "/pools/:pool/backends/:backend", "patchBackend", "Changes the fields given", {
        body: { schema: "BackendPatch", example: { weight: 5 } },
      }),
      change("delete", "/pools/:pool/backends/:backend", "deleteBackend", "Removes a backend at once", {
        body: FORCIBLE,
      }),
      change(
        "put",
        "/pools/:pool/backends/:backend/pin",
        "pinBackend",
        "Says how it is, over what is observed",
        {
          body: { schema: "Pin", example: { health: "unhealthy", reason: "disk is full", forMs: 600_000 } },
          statuses: [200, 202],
        },
      ),
      change("delete", "/pools/:pool/backends/:backend/pin", "unpinBackend", "Takes a pin back"),
    ],
  },
  {
    tag: "Drains",
    description: "Taking backends out, and whether they can be stopped.",
    operations: [
      change(
        "post",
        "/pools/:pool/backends/:backend/drain",
        "drainBackend",
        "Nothing new from now on, and in the end nothing",
        {
          body: { schema: "Drain", example: { forMs: 60_000, force: true } },
        },
      ),
      change(
        "post",
        "/pools/:pool/backends/:backend/undrain",
        "undrainBackend",
        "Takes a drain back, also one that is over",
      ),
      change(
        "post",
        "/pools/:pool/backends/:backend/disable",
        "disableBackend",
        "Sends it nothing, not even its own sessions",
        {
          body: FORCIBLE,
        },
      ),
      change("post", "/pools/:pool/backends/:backend/enable", "enableBackend", "Takes that back"),
      show(
        "/pools/:pool/backends/:backend/receipt",
        "getReceipt",
        "Receipt",
        "Whether the backend can be stopped",
        WAITING,
      ),
      change("post", "/pools/:pool/drain", "drainLabelled", "Drains all backends that have a label", {
        body: { schema: "DrainLabelled", example: { ...LABELLED, forMs: 60_000, force: true } },
      }),
      change("post", "/pools/:pool/undrain", "undrainLabelled", "Takes that back", {
        body: { schema: "Labelled", example: LABELLED },
      }),
      show(
        "/pools/:pool/receipts",
        "getReceipts",
        "Receipts",
        "Whether all backends that have a label can be stopped",
        {
          query: ReceiptsQuerySchema,
          ...WAITING,
        },
      ),
    ],
  },
  {
    tag: "Tokens",
    description: "What sessions are recognised by.",
    operations: [
      show(
        "/pools/:pool/tokens",
        "getTokens",
        "TokenConfigs",
        "Token configurations and server ids, without keys",
      ),
      change("post", "/pools/:pool/tokens/rotate", "rotateKeys", "Begins a key rotation"),
      ask(
        "/pools/:pool/tokens/quic-lb-export",
        "exportTokens",
        "QuicLbExport",
        "Keys and server ids in clear, for QUIC servers",
      ),
    ],
  },
  {
    tag: "History",
    description: "Every version of a pool, who made it, and the way back.",
    operations: [
      show(
        "/pools/:pool/versions",
        "listPoolVersions",
        "Versions",
        "Who changed what, newest first",
        VERSIONS,
      ),
      show("/pools/:pool/versions/:version", "getPoolVersion", "Pool", "The pool as it was at a version"),
      show(
        "/pools/:pool/versions/:version/diff/:to",
        "comparePoolVersions",
        "Difference",
        "What is different at another version",
        UNVERSIONED,
      ),
      show(
        "/pools/:pool/lost-leases",
        "listPoolLostLeases",
        "LostLeases",
        "When isolates were lost that may have been at work",
        UNVERSIONED,
      ),
      change("post", "/pools/:pool/rollback", "rollBackPool", "Makes the pool of a past version hold again", {
        body: ROLLBACK,
        ...MAKING,
      }),
    ],
  },
  {
    tag: "Explanations",
    description: "Why a request goes where it goes.",
    operations: [
      ask("/traces", "issueTrace", "TraceIssued", "Gives out the header by which requests ask for a trace", {
        body: { schema: "TraceOrder", example: { forMs: 600_000 } },
        statuses: [201],
        problems: SENT,
      }),
      ask(
        "/explain",
        "explain",
        "Explained",
        "Foresees how a request is routed, or makes the decisions of a traced one again",
        {
          body: { schema: "Explain", example: { request: { url: "https://shop.example.com/api/cart" } } },
        },
      ),
    ],
  },
];
