import * as v from "valibot";
import { PoolDocumentSchema } from "../../../durable/model/pool.ts";
import { report } from "./reports.ts";

/** A backend with every field there is. */
export const BACKEND = {
  url: "https://a.example:8443/base",
  weight: 3,
  via: "VPC",
  labels: { region: "weur", release: "7" },
  priority: 1,
  admin: { kind: "draining", untilMs: 1_800_000_060_000 },
};

/** A pool with every field there is. */
export const POOL = v.parse(PoolDocumentSchema, {
  affinity: [
    { by: "token" },
    { by: "header", name: "x-user" },
    { by: "query", name: "user" },
    { by: "address" },
  ],
  tokens: { header: "x-session", rotateEveryMs: 604_800_000 },
  health: {
    probe: { kind: "http" },
    webhooks: [{ url: "https://hooks.example/ring", secret: "WEBHOOK_KEY" }],
  },
  backends: [
    { ...BACKEND, id: "a" },
    { id: "b", url: "https://b.example" },
    { id: "c", url: "https://c.example", admin: { kind: "disabled" } },
  ],
});

const { backends: _, ...config } = POOL;

/** The configuration of that pool. */
export const CONFIG = config;

/** A route with every field there is but `split`. */
export const ROUTE = {
  host: "*.example.com",
  path: "/api",
  methods: ["GET", "HEAD"],
  headers: [{ name: "x-stage", value: "1" }, { name: "x-beta" }],
  pool: "shop",
  policy: "maglev",
  affinity: [{ by: "cookie", name: "user" }],
  subset: { by: "header", name: "x-region", label: "region", fallback: "none" },
  rewritePath: "/v2",
  headerTimeoutMs: 5_000,
  retry: {},
};

/** A sync that reports. */
export const SYNC = {
  isolate: "isolate-1",
  seq: 3,
  incarnation: "first-life",
  haveVersion: 7,
  report: report(
    {
      a: { answered: 5, timed_out: 1, announced: "draining", ageMs: 100 },
      b: { unreachable: 4, skipping: true },
    },
    { batch: 2, ageMs: 1_000 },
  ),
  inFlight: [{ id: "a", count: 2 }],
};
