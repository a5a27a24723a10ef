import * as v from "valibot";
import { integer, list } from "./fields.ts";
import { ANNOUNCEMENTS } from "./health.ts";
import { LIMITS } from "./limits.ts";
import { BackendIdSchema } from "./names.ts";
import { INCIDENTS, OUTCOMES, PROTOCOLS, SESSION_FATES, zeros } from "./outcome.ts";
import { Sketch } from "./sketch.ts";
import type { Versioned } from "./snapshot.ts";

const CountSchema = integer(0, Number.MAX_SAFE_INTEGER);

function counts<const Words extends readonly string[]>(words: Words) {
  const entries = Object.fromEntries(words.map((word) => [word, v.optional(CountSchema, 0)]));
  return v.object(entries as Record<Words[number], v.OptionalSchema<typeof CountSchema, 0>>);
}

const SketchTextSchema = v.pipe(
  v.string(),
  v.check((text) => Sketch.parse(text) !== null, "must be the text of a sketch"),
);

const BackendReportSchema = v.object({
  id: BackendIdSchema,
  /**
   * How long ago the first of these attempts ended, when the report is sent, milliseconds; where there is none, how long ago
   * what it says was so. Absent: as old as the report.
   */
  ageMs: v.optional(CountSchema),
  outcomes: counts(OUTCOMES),
  /** Time to the response headers, or to the failure, added up over all attempts that blame nobody or their backend. */
  latencyMs: v.optional(v.object({ success: CountSchema, failure: CountSchema }), { success: 0, failure: 0 }),
  /** Gateway failures in a row at the end of the batch, and whether nothing else that says anything came before them. */
  gatewayRun: v.optional(v.object({ length: CountSchema, isWhole: v.boolean() }), {
    length: 0,
    isWhole: true,
  }),
  /**
   * Whether the isolate skips it by itself, or tries it with one request at a time, at the end of the batch. As long as that
   * is so, every report says it, with or without attempts. Absent: it does not.
   */
  skipping: v.optional(v.boolean()),
  /** The last thing it said of itself; null: nothing, or it is not believed. */
  announced: v.optional(v.nullable(v.picklist(ANNOUNCEMENTS)), null),
  /** How long after the first of the whole batch it said so, milliseconds. */
  announcedAfterMs: v.optional(CountSchema, 0),
  /**
   * Sketch of its sessions that came here since the last report. Absent: none did. A text that is none is taken for absent:
   * another version of this code may write them otherwise, and what else it reports must not be lost for an estimate.
   */
  sessionSketch: v.fallback(v.optional(SketchTextSchema), undefined),
});
export type BackendReport = v.InferOutput<typeof BackendReportSchema>;

/**
 * Outcomes folded into counters since the last report that was acknowledged. Until it is, the same batch is sent again
 * under the same number, and the ring counts a number once.
 */
const ReportSchema = v.object({
  /** Grows with every new batch of one isolate. */
  batch: CountSchema,
  /** How long ago the first of it happened, when it is sent, milliseconds. An attempt happens when it ends. */
  ageMs: v.optional(CountSchema, 0),
  backends: list(BackendReportSchema, 2 * LIMITS.backendsPerPool),
  /** Requests by client protocol. */
  protocols: counts(PROTOCOLS),
  incidents: counts(INCIDENTS),
  /** Requests that carried a token, by what became of the session. */
  sessions: v.optional(counts(SESSION_FATES), zeros(SESSION_FATES)),
});
export type Report = v.InferOutput<typeof ReportSchema>;

/** What an isolate tells an object when it asks for changes. The directory gets no report. */
export const SyncRequestSchema = v.object({
  /** Random name the isolate gave itself in its first request. */
  isolate: v.pipe(v.string(), v.minLength(8), v.maxLength(64)),
  /** Grows with every sync of this isolate to this object; one that arrives late is answered without a lease. */
  seq: CountSchema,
  /** Of the document held; null when none is. */
  incarnation: v.nullable(v.pipe(v.string(), v.maxLength(64))),
  /** Version held under that incarnation: the only acknowledgement there is. 0 when none is. */
  haveVersion: CountSchema,
  report: v.optional(v.nullable(ReportSchema), null),
  /** Requests in flight by backend, those with none left out. */
  inFlight: v.optional(
    list(v.object({ id: BackendIdSchema, count: CountSchema }), 2 * LIMITS.backendsPerPool),
    [],
  ),
});
export type SyncRequest = v.InferOutput<typeof SyncRequestSchema>;

/**
 * The answer to a sync. `leased`: the document (null when the isolate already holds it), good for `leaseMs` counted from
 * before the sync was sent. `absent`: there is no such pool. `late`: a later sync of this isolate was already answered.
 */
export type SyncReply<Document extends Versioned> =
  | {
      readonly kind: "leased";
      readonly incarnation: string;
      readonly version: number;
      readonly document: Document | null;
      readonly leaseMs: number;
      readonly nextSyncMs: number;
    }
  | { readonly kind: "absent" }
  | { readonly kind: "late" };
