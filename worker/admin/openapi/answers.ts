import * as v from "valibot";
import { ListedBackendSchema } from "../../../durable/model/backend.ts";
import type { Applied } from "../../../durable/model/command.ts";
import type { WebhookStatus } from "../../../durable/model/delivery.ts";
import { EVENT_KINDS, type EventsView } from "../../../durable/model/event.ts";
import { integer } from "../../../durable/model/fields.ts";
import {
  ANNOUNCEMENTS,
  EJECTION_CAUSES,
  HealthSchema,
  type Observed,
} from "../../../durable/model/health.ts";
import type { Difference, LostLeasesView, VersionsView } from "../../../durable/model/history.ts";
import { BackendIdSchema, PoolNameSchema, RouteIdSchema } from "../../../durable/model/names.ts";
import { INCIDENTS, OUTCOMES, PROTOCOLS, SESSION_FATES } from "../../../durable/model/outcome.ts";
import { AffinitySchema, PolicySchema, PoolDocumentSchema } from "../../../durable/model/pool.ts";
import type { PoolPreview, RoutePreview } from "../../../durable/model/preview.ts";
import type { QuicLbExport } from "../../../durable/model/quic-lb-export.ts";
import type { Receipt } from "../../../durable/model/receipt.ts";
import type { FieldError } from "../../../durable/model/refusal.ts";
import { RouteSchema } from "../../../durable/model/route.ts";
import type { Tier } from "../../../durable/model/snapshot.ts";
import { type EpochMs, epochMs } from "../../../durable/model/time.ts";
import { GENERATORS, LostSchema } from "../../../durable/model/token.ts";
import type {
  BackendStatus,
  Convergence,
  DirectoryView,
  PoolStatus,
  TokensView,
} from "../../../durable/model/view.ts";
import type { PoolExplained } from "../../core/explain.ts";
import type { TraceExplained } from "../../core/explain-trace.ts";
import { FINDINGS } from "../../core/notes.ts";
import type { Decision } from "../../core/replay.ts";
import { AttemptSchema, ReasonSchema, TraceSchema } from "../../core/trace.ts";

/*
 * What the admin API answers, for the OpenAPI document. Nothing is parsed with these: that they fit the types that are
 * answered is checked by the compiler, and that they fit the answers by a test.
 */

/** A type as a schema gives it: read only. */
type Shown<Value> = Value extends string | number | boolean | null | undefined
  ? Value
  : unknown extends Value
    ? Value
    : { readonly [Key in keyof Value]: Shown<Value[Key]> };

/** Takes a schema of answers of a type, and not of a narrower or a wider one. */
function of<View>() {
  return <const Schema extends v.GenericSchema<unknown, View>>(
    schema: Schema & (View extends Shown<v.InferOutput<Schema>> ? unknown : never),
  ): Schema => schema;
}

const CountSchema = integer(0, Number.MAX_SAFE_INTEGER);
const VersionSchema = integer(0, Number.MAX_SAFE_INTEGER);
const DurationSchema = v.pipe(v.number(), v.minValue(0), v.description("milliseconds"));
const TextSchema = v.string();
const FlagSchema = v.boolean();
const AnySchema = v.unknown();

/** A point in time. */
function at(meaning: string) {
  return v.pipe(
    integer(0, Number.MAX_SAFE_INTEGER),
    v.description(`milliseconds since the epoch: ${meaning}`),
    v.transform((value): EpochMs => epochMs(value)),
  );
}

/** One count for each word. */
function counts<const Words extends readonly string[]>(words: Words) {
  const entries = Object.fromEntries(words.map((word) => [word, CountSchema]));
  return v.object(entries as Record<Words[number], typeof CountSchema>);
}

const ChangeSchema = v.object({ path: TextSchema, before: AnySchema, after: AnySchema });

const convergenceEntries = {
  isolates: CountSchema,
  acknowledgedIsolates: CountSchema,
  outstandingIsolates: CountSchema,
  oldestVersion: v.nullable(VersionSchema),
  worstAgeMs: v.nullable(DurationSchema),
  governsAtMs: v.nullable(
    at("when this version governs every isolate that reaches its object in time; null: it does"),
  ),
  longestLeaseMs: DurationSchema,
};

export const ConvergenceSchema = of<Convergence>()(v.object(convergenceEntries));

export const PresentConvergenceSchema = v.object({ version: VersionSchema, ...convergenceEntries });

const appliedEntries = {
  version: VersionSchema,
  created: v.pipe(FlagSchema, v.description("it did not exist before")),
  changes: v.pipe(
    v.array(ChangeSchema),
    v.description("every difference; none if all was so already, and then the version is the same"),
  ),
  convergence: v.optional(
    v.pipe(
      v.nullable(ConvergenceSchema),
      v.description("only with wait; null: the change stands, and nobody could tell how far it has come"),
    ),
  ),
};

export const AppliedSchema = of<Applied>()(v.object(appliedEntries));

const PercentSchema = v.pipe(v.number(), v.minValue(0), v.maxValue(100));

const previewEntries = {
  nextVersion: VersionSchema,
  created: FlagSchema,
  changes: v.array(ChangeSchema),
};

export const PoolPreviewSchema = of<PoolPreview>()(
  v.object({
    version: v.pipe(
      v.nullable(VersionSchema),
      v.description("what it is based on; null: there is no pool yet"),
    ),
    ...previewEntries,
    atMs: at("when this holds"),
    shares: v.array(
      v.object({ id: BackendIdSchema, before: PercentSchema, after: PercentSchema, settled: PercentSchema }),
    ),
    hashSpaceMovedPercent: v.nullable(PercentSchema),
    hashSpaceErrorPercent: PercentSchema,
    sessions: v.array(
      v.object({
        backend: BackendIdSchema,
        cause: v.picklist([
          "removed",
          "drained",
          "disabled",
          "ejected",
          "repinned",
          "returned",
          "rehashed",
          "unbound",
        ]),
        sessions: CountSchema,
        countedSinceMs: at("since when sessions were counted"),
        rule: v.nullable(LostSchema),
        fromMs: at("when the first may move"),
        untilMs: v.nullable(at("by when all have moved, as far as they come")),
      }),
    ),
    guards: v.array(
      v.object({
        guard: v.picklist([
          "nobody_admits_new",
          "capacity_halved",
          "panic",
          "no_fallback_pool",
          "server_ids_used_up",
        ]),
        detail: TextSchema,
        wasBroken: FlagSchema,
      }),
    ),
  }),
);

export const RoutePreviewSchema = of<RoutePreview>()(
  v.object({
    version: VersionSchema,
    ...previewEntries,
    shares: v.array(v.object({ pool: PoolNameSchema, before: PercentSchema, after: PercentSchema })),
    clientsMovedPercent: v.nullable(PercentSchema),
    clientsErrorPercent: PercentSchema,
  }),
);

export const DocumentPreviewSchema = v.object({
  version: VersionSchema,
  changes: v.array(ChangeSchema),
  pools: v.array(v.object({ name: PoolNameSchema, ...PoolPreviewSchema.entries })),
});

export const BackendListSchema = v.object({ backends: v.array(ListedBackendSchema) });

export const PoolListSchema = v.object({ pools: v.array(PoolNameSchema) });

export const RouteListSchema = v.object({ routes: v.array(RouteSchema) });

export const DirectorySchema = of<DirectoryView>()(
  v.object({
    version: VersionSchema,
    deployment: TextSchema,
    pools: v.array(PoolNameSchema),
    routes: v.array(RouteSchema),
    convergence: ConvergenceSchema,
  }),
);

export const PastDirectorySchema = v.object({ pools: v.array(PoolNameSchema), routes: v.array(RouteSchema) });

export const DirectoryExportSchema = v.object({
  version: VersionSchema,
  routes: v.array(RouteSchema),
  pools: v.array(v.object({ name: PoolNameSchema, version: VersionSchema, document: PoolDocumentSchema })),
});

const progressEntries = {
  applied: v.array(v.object({ step: TextSchema, ...appliedEntries })),
  remaining: v.array(TextSchema),
};

export const DocumentAppliedSchema = v.object(progressEntries);

const ejectionsEntries = { times: CountSchema, isolationMs: DurationSchema, sinceMs: at("since when") };

const ObservedSchema = of<Observed>()(
  v.object({
    probe: v.object({
      verdict: v.nullable(v.picklist(["healthy", "degraded", "unhealthy", "waiting"])),
      isStopping: FlagSchema,
      streak: CountSchema,
      sinceMs: at("since when the verdict holds"),
    }),
    passive: v.variant("kind", [
      v.object({ kind: v.literal("in"), ...ejectionsEntries }),
      v.object({
        kind: v.literal("ejected"),
        cause: v.picklist(EJECTION_CAUSES),
        untilMs: at("when it comes back"),
        ...ejectionsEntries,
      }),
      v.object({ kind: v.literal("half_open"), ...ejectionsEntries }),
    ]),
    announced: v.nullable(
      v.object({
        word: v.picklist(ANNOUNCEMENTS.filter((word) => word !== "healthy")),
        untilMs: at("until when that counts"),
      }),
    ),
  }),
);

const AdmitsSchema = v.pipe(
  v.picklist(["new", "sticky", "none"]),
  v.description("what it may be sent: anything, only what is bound to it, or nothing"),
);

const TierSchema = of<Tier>()(
  v.object({
    priority: CountSchema,
    isDegraded: FlagSchema,
    sharePercent: v.number(),
    isPanicking: FlagSchema,
  }),
);

const EstimatedSessionsSchema = v.object({
  count: CountSchema,
  sinceMs: at("those that came since then count"),
});

const BackendStatusSchema = of<BackendStatus>()(
  v.object({
    id: BackendIdSchema,
    admits: AdmitsSchema,
    weight: CountSchema,
    health: HealthSchema,
    pin: v.nullable(
      v.object({ health: HealthSchema, reason: TextSchema, untilMs: at("until when it holds") }),
    ),
    observed: ObservedSchema,
    servingSinceMs: at("since when it takes new traffic"),
    drainsUntilMs: v.nullable(at("deadline of its drain")),
    inFlight: CountSchema,
    estimatedSessions: EstimatedSessionsSchema,
    outcomes: counts(OUTCOMES),
  }),
);

export const TokensSchema = of<TokensView>()(
  v.object({
    configs: v.array(
      v.object({
        id: integer(0, 6),
        generator: v.picklist(GENERATORS),
        serverIdBytes: CountSchema,
        nonceBytes: CountSchema,
        phase: v.picklist(["spreading", "writing", "retired"]),
        createdMs: at("when it was made"),
        untilMs: v.nullable(at("when it is spread, or its last token has expired")),
      }),
    ),
    serverIds: v.object({ used: CountSchema, reserved: CountSchema, free: v.number() }),
  }),
);

const WebhookStatusSchema = of<WebhookStatus>()(
  v.object({
    url: TextSchema,
    isSecretSet: FlagSchema,
    waiting: CountSchema,
    delivered: CountSchema,
    dropped: CountSchema,
    lastFailure: v.nullable(TextSchema),
  }),
);

export const PoolStatusSchema = of<PoolStatus>()(
  v.object({
    pool: PoolNameSchema,
    version: VersionSchema,
    convergence: ConvergenceSchema,
    backends: v.array(BackendStatusSchema),
    tiers: v.array(TierSchema),
    probes: v.nullable(v.object({ intervalMs: DurationSchema, heldIntervalMs: DurationSchema })),
    protocols: counts(PROTOCOLS),
    incidents: counts(INCIDENTS),
    sessions: counts(SESSION_FATES),
    tokens: TokensSchema,
    webhooks: v.array(WebhookStatusSchema),
    sinceMs: at("when the counters began"),
  }),
);

const SafeAtSchema = v.nullable(
  at("since when it is safe, or from when on it will be by what is known; null: nobody knows"),
);
const CertainAtSchema = v.nullable(
  at(
    "from when on it can be stopped for isolates that are cut off, too, never before safeAtMs; null: it is not on its way out",
  ),
);

export const ReceiptSchema = of<Receipt>()(
  v.object({
    id: BackendIdSchema,
    state: v.picklist(["active", "ejected", "draining", "expired", "disabled", "removed", "safe"]),
    version: VersionSchema,
    safe: v.pipe(FlagSchema, v.description("it can be stopped")),
    safeAtMs: SafeAtSchema,
    certainAtMs: CertainAtSchema,
    drainsUntilMs: v.nullable(at("deadline of its drain")),
    inFlight: CountSchema,
    estimatedSessions: EstimatedSessionsSchema,
    outstandingIsolates: CountSchema,
    unheardUntilMs: v.nullable(at("until when there may be isolates that the ring has not heard of")),
  }),
);

export const ReceiptsSchema = v.object({
  safe: v.pipe(FlagSchema, v.description("all of them can be stopped")),
  safeAtMs: SafeAtSchema,
  certainAtMs: CertainAtSchema,
  inFlight: CountSchema,
  receipts: v.array(ReceiptSchema),
});

export const EventsSchema = of<EventsView>()(
  v.object({
    events: v.array(
      v.object({
        id: CountSchema,
        atMs: at("when it happened"),
        backend: BackendIdSchema,
        kind: v.picklist(EVENT_KINDS),
        cause: TextSchema,
        evidence: v.record(v.string(), v.union([v.string(), v.number()])),
        version: VersionSchema,
      }),
    ),
    lastId: CountSchema,
  }),
);

export const VersionsSchema = of<VersionsView>()(
  v.object({
    versions: v.array(
      v.object({
        version: VersionSchema,
        atMs: at("when it was made"),
        actor: TextSchema,
        command: v.nullable(TextSchema),
        reason: v.nullable(TextSchema),
        changes: v.array(ChangeSchema),
      }),
    ),
    oldest: VersionSchema,
    newest: VersionSchema,
  }),
);

export const DifferenceSchema = of<Difference>()(
  v.object({
    from: VersionSchema,
    to: VersionSchema,
    changes: v.array(ChangeSchema),
  }),
);

export const LostLeasesSchema = of<LostLeasesView>()(
  v.object({
    minutes: v.array(
      v.object({
        atMs: at("when the minute began"),
        unacknowledged: CountSchema,
        busy: CountSchema,
        inFlight: CountSchema,
      }),
    ),
  }),
);

export const QuicLbExportSchema = of<QuicLbExport>()(
  v.object({
    "ietf-quic-lb-middlebox:quic-lb": v.object({
      "cid-configs": v.array(
        v.object({
          "config-rotation-bits": integer(0, 6),
          "first-octet-encodes-cid-length": v.literal(true),
          "server-id-length": CountSchema,
          "nonce-length": CountSchema,
          "cid-key": v.exactOptional(TextSchema),
          "server-id-mappings": v.array(v.object({ "server-id": TextSchema, "server-address": TextSchema })),
        }),
      ),
    }),
  }),
);

export const TraceIssuedSchema = v.object({
  header: TextSchema,
  value: TextSchema,
  untilMs: at("until when requests may bring it"),
});

const DecisionSchema = of<Decision>()(
  v.object({
    backend: v.nullable(BackendIdSchema),
    reason: ReasonSchema,
    steps: v.array(v.object({ step: AffinitySchema.item, found: v.picklist(FINDINGS) })),
    policy: v.nullable(v.object({ name: PolicySchema, isKeyed: FlagSchema })),
    session: v.nullable(v.object({ id: TextSchema, backend: v.nullable(BackendIdSchema) })),
  }),
);

const ReproducedSchema = v.pipe(
  v.nullable(FlagSchema),
  v.description("whether it came out the same; null: what it takes is not there, or there is nothing"),
);

const { format: _, attempts: __, ...tracedEntries } = TraceSchema.entries;

const TraceExplainedSchema = of<TraceExplained>()(
  v.object({
    ...tracedEntries,
    routeReproduced: ReproducedSchema,
    splitReproduced: ReproducedSchema,
    attempts: v.array(
      v.object({
        ...AttemptSchema.entries,
        replayed: v.nullable(DecisionSchema),
        reproduced: ReproducedSchema,
      }),
    ),
    reproduced: ReproducedSchema,
  }),
);

const ProbabilitySchema = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

const PoolExplainedSchema = of<PoolExplained>()(
  v.object({
    ...DecisionSchema.entries,
    candidates: v.array(
      v.object({
        id: BackendIdSchema,
        admits: AdmitsSchema,
        tier: v.nullable(TierSchema),
        weight: CountSchema,
        probability: ProbabilitySchema,
      }),
    ),
    refusals: v.object({
      NB: ProbabilitySchema,
      FL: ProbabilitySchema,
      SH: ProbabilitySchema,
      SR: ProbabilitySchema,
    }),
  }),
);

const LifeSchema = v.object({ incarnation: TextSchema, version: VersionSchema });

const foreseenEntries = { table: LifeSchema, reason: ReasonSchema, why: TextSchema };
const ledEntries = {
  ...foreseenEntries,
  route: v.nullable(RouteIdSchema),
  split: v.nullable(
    v.array(v.object({ pool: PoolNameSchema, weight: CountSchema, probability: ProbabilitySchema })),
  ),
};

/** With a trace; without: led nowhere, to no pool, to a pool. */
export const ExplainedSchema = v.union([
  v.object({ ...TraceExplainedSchema.entries, why: TextSchema }),
  v.object({ ...foreseenEntries, route: v.null() }),
  v.object({ ...ledEntries, pool: v.null() }),
  v.object({
    ...ledEntries,
    ...PoolExplainedSchema.entries,
    pool: v.object({ name: PoolNameSchema, ...LifeSchema.entries }),
    subset: v.nullable(
      v.object({
        label: TextSchema,
        value: v.nullable(TextSchema),
        fallback: v.picklist(["any", "none"]),
      }),
    ),
    fallbackPool: v.nullable(PoolNameSchema),
  }),
]);

const FieldErrorSchema = of<FieldError>()(
  v.object({
    field: v.pipe(
      TextSchema,
      v.description("dotted path into the body, or a header or parameter; empty: the body"),
    ),
    value: AnySchema,
    range: v.pipe(TextSchema, v.description("what it may hold, in words")),
  }),
);

export const ProblemSchema = v.object({
  type: TextSchema,
  title: TextSchema,
  status: integer(400, 599),
  detail: TextSchema,
  errors: v.optional(v.array(FieldErrorSchema)),
  applied: v.optional(progressEntries.applied),
  remaining: v.optional(progressEntries.remaining),
});

export const OpenApiSchema = v.object({
  openapi: v.literal("3.1.1"),
  info: AnySchema,
  servers: AnySchema,
  security: AnySchema,
  tags: AnySchema,
  paths: AnySchema,
  components: AnySchema,
});
