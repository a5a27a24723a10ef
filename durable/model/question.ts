import * as v from "valibot";
import { integer, MethodSchema, record } from "./fields.ts";

/** What `POST /traces` takes. */
export const TraceOrderSchema = record({
  /** How long it may be used, milliseconds, 1 s … 1 day. Default 10 minutes. */
  forMs: v.optional(integer(1_000, 86_400_000), 600_000),
});

const FactSchema = v.optional(v.string("must be a text"));

/** What `POST /explain` takes. */
export const ExplainSchema = record({
  request: record({
    /** Default `GET`. */
    method: v.optional(MethodSchema, "GET"),
    url: v.pipe(v.string("must be a URL"), v.regex(/^https?:\/\/./, "must begin with http:// or https://")),
    /** As the request had them; `cf-connecting-ip` is the client's address. */
    headers: v.optional(v.record(v.string(), v.string("must be a text")), {}),
    /** What the platform knew of the client. Not asked with a trace, which says it. */
    cf: v.optional(
      record({
        tlsClientRandom: FactSchema,
        country: FactSchema,
        colo: FactSchema,
        httpProtocol: FactSchema,
      }),
    ),
  }),
  /** Of the pool. Default: the present one. Not asked with a trace. */
  version: v.optional(integer(1, Number.MAX_SAFE_INTEGER)),
  /** Of the routing table. Default: the present one. Not asked with a trace. */
  tableVersion: v.optional(integer(1, Number.MAX_SAFE_INTEGER)),
  /** The `Ring-Trace` of an answer. */
  trace: v.optional(v.string("must be the value of a Ring-Trace header")),
});
export type Question = v.InferOutput<typeof ExplainSchema>;
