import type { JsonSchema } from "@valibot/to-json-schema";
import {
  BackendInputSchema,
  BackendPatchSchema,
  ListedBackendSchema,
} from "../../../durable/model/backend.ts";
import { DirectoryDocumentSchema } from "../../../durable/model/document.ts";
import {
  DrainLabelledSchema,
  DrainSchema,
  ForcibleSchema,
  LabelledSchema,
} from "../../../durable/model/drain.ts";
import { HealthSchema, PinInputSchema } from "../../../durable/model/health.ts";
import { HealthCheckSchema } from "../../../durable/model/health-check.ts";
import { RollbackSchema } from "../../../durable/model/history.ts";
import { BackendIdSchema, PoolNameSchema, RouteIdSchema } from "../../../durable/model/names.ts";
import {
  AffinitySchema,
  PolicySchema,
  PoolConfigSchema,
  PoolDocumentSchema,
  PoolPatchSchema,
} from "../../../durable/model/pool.ts";
import { ExplainSchema, TraceOrderSchema } from "../../../durable/model/question.ts";
import { RetrySchema } from "../../../durable/model/retry.ts";
import { RouteInputSchema, RoutePatchSchema, RouteSchema } from "../../../durable/model/route.ts";
import { SessionsSchema, TokensSchema } from "../../../durable/model/token.ts";
import * as answers from "./answers.ts";
import { toComponents, toPatch } from "./json-schema.ts";

/** What bodies and answers are made of, by the name that the document gives it. */
export const SCHEMAS = {
  PoolName: PoolNameSchema,
  BackendId: BackendIdSchema,
  RouteId: RouteIdSchema,
  Policy: PolicySchema,
  Affinity: AffinitySchema,
  Health: HealthSchema,
  HealthCheck: HealthCheckSchema,
  Retry: RetrySchema,
  Tokens: TokensSchema,
  Sessions: SessionsSchema,

  Pool: PoolDocumentSchema,
  PoolPatch: PoolPatchSchema,
  Backend: ListedBackendSchema,
  BackendInput: BackendInputSchema,
  BackendPatch: BackendPatchSchema,
  Route: RouteSchema,
  RouteInput: RouteInputSchema,
  RoutePatch: RoutePatchSchema,
  DirectoryDocument: DirectoryDocumentSchema,
  Drain: DrainSchema,
  DrainLabelled: DrainLabelledSchema,
  Labelled: LabelledSchema,
  Forcible: ForcibleSchema,
  Pin: PinInputSchema,
  TraceOrder: TraceOrderSchema,
  Explain: ExplainSchema,
  Rollback: RollbackSchema,

  Applied: answers.AppliedSchema,
  BackendList: answers.BackendListSchema,
  Convergence: answers.ConvergenceSchema,
  Difference: answers.DifferenceSchema,
  Directory: answers.DirectorySchema,
  DirectoryExport: answers.DirectoryExportSchema,
  DocumentApplied: answers.DocumentAppliedSchema,
  Events: answers.EventsSchema,
  Explained: answers.ExplainedSchema,
  TraceIssued: answers.TraceIssuedSchema,
  LostLeases: answers.LostLeasesSchema,
  PastDirectory: answers.PastDirectorySchema,
  PoolList: answers.PoolListSchema,
  PoolPreview: answers.PoolPreviewSchema,
  RoutePreview: answers.RoutePreviewSchema,
  DocumentPreview: answers.DocumentPreviewSchema,
  PoolStatus: answers.PoolStatusSchema,
  PresentConvergence: answers.PresentConvergenceSchema,
  Problem: answers.ProblemSchema,
  QuicLbExport: answers.QuicLbExportSchema,
  Receipt: answers.ReceiptSchema,
  Receipts: answers.ReceiptsSchema,
  RouteList: answers.RouteListSchema,
  TokenConfigs: answers.TokensSchema,
  OpenApi: answers.OpenApiSchema,
  Versions: answers.VersionsSchema,
} as const;

export type SchemaName = keyof typeof SCHEMAS;

/** All of them in JSON Schema. */
export function createSchemas(): Readonly<Record<string, JsonSchema>> {
  // A patch is parsed as the whole that comes of it, and its parts are patches too, so none of them is a component.
  const { PoolName, Policy, Affinity } = SCHEMAS;
  const { PoolConfig = {} } = toComponents({ PoolName, Policy, Affinity, PoolConfig: PoolConfigSchema });
  return { ...toComponents(SCHEMAS), PoolPatch: toPatch(PoolConfig) };
}
