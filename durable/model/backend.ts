import * as v from "valibot";
import { integer, record } from "./fields.ts";
import { LIMITS } from "./limits.ts";
import { BackendIdSchema } from "./names.ts";
import { type EpochMs, epochMs } from "./time.ts";

const PORT_RANGE = "must not name port 0";
const HOST_RANGE = "must hold no empty part in its host";
const URL_RANGE = `must be an http:// or https:// URL of at most ${LIMITS.urlLength} characters`;

const EpochMsSchema = v.pipe(
  integer(0, Number.MAX_SAFE_INTEGER),
  v.transform((value): EpochMs => epochMs(value)),
);

/** Where a backend lives, without trailing slash: `https://a.example:8443/base`. */
const BackendUrlSchema = v.pipe(
  v.string(URL_RANGE),
  v.description(`${PORT_RANGE}; ${HOST_RANGE}`),
  v.maxLength(LIMITS.urlLength, URL_RANGE),
  v.url(URL_RANGE),
  v.check((text) => /^https?:\/\/[^/]/i.test(text), URL_RANGE),
  v.check((text) => !/^[a-z]+:\/\/[^/]*@/i.test(text), "must not hold a user or password"),
  v.check((text) => !/[?#]/.test(text), "must not hold a query or fragment"),
  v.check((text) => !/\s/.test(text), "must not hold white space"),
  v.transform((text) => new URL(text).href.replace(/\/+$/, "")),
  // Once more, since percent-encoding may have made it longer.
  v.maxLength(LIMITS.urlLength, URL_RANGE),
  v.check((url) => new URL(url).port !== "0", PORT_RANGE),
  v.check(
    (url) =>
      new URL(url).hostname
        .replace(/\.$/, "")
        .split(".")
        .every((label) => label !== ""),
    HOST_RANGE,
  ),
);

/**
 * What an operator wants of a backend. `active`: serve. `draining`: no new sessions, existing ones until `untilMs`
 * (epoch), then nothing. `disabled`: nothing.
 */
export const AdminStateSchema = v.variant(
  "kind",
  [
    record({ kind: v.literal("active") }),
    record({ kind: v.literal("draining"), untilMs: EpochMsSchema }),
    record({ kind: v.literal("disabled") }),
  ],
  'must be an object whose kind is "active", "draining" (with untilMs) or "disabled"',
);
export type AdminState = v.InferOutput<typeof AdminStateSchema>;

const LABEL_RANGE = `must be a string of at most ${LIMITS.labelValueLength} characters`;
const LABELS_RANGE = "must be an object of strings";

/** What plain objects have of themselves: a label of such a name would be read where no backend has it. */
const NO_LABELS: readonly string[] = ["__proto__", "constructor", "prototype"];
const NO_LABEL_RANGE = "must not use __proto__, constructor or prototype for a label";

/** Name of a label. */
export const LabelNameSchema = v.pipe(
  BackendIdSchema,
  v.check((name) => !NO_LABELS.includes(name), NO_LABEL_RANGE),
);

/** Value of a label. */
export const LabelValueSchema = v.pipe(
  v.string(LABEL_RANGE),
  v.maxLength(LIMITS.labelValueLength, LABEL_RANGE),
);

const LabelsSchema = v.pipe(
  v.custom<Record<string, unknown>>(
    (labels) => typeof labels === "object" && !Array.isArray(labels),
    LABELS_RANGE,
  ),
  v.metadata({
    type: "object",
    maxProperties: LIMITS.labelsPerBackend,
    additionalProperties: { type: "string", maxLength: LIMITS.labelValueLength },
  }),
  v.check((labels) => !NO_LABELS.some((name) => Object.hasOwn(labels, name)), NO_LABEL_RANGE),
  v.record(LabelNameSchema, LabelValueSchema, LABELS_RANGE),
  v.check(
    (labels) => Object.keys(labels).length <= LIMITS.labelsPerBackend,
    `must hold at most ${LIMITS.labelsPerBackend} labels`,
  ),
);

const BINDING_RANGE = "must be the name of a Fetcher binding: 1…64 characters of A-Z, a-z, 0-9 and '_'";

const PrioritySchema = integer(0, LIMITS.maxPriority);

const backendEntries = {
  /** Scheme, host, optional port and optional base path. Required. */
  url: BackendUrlSchema,
  /** Share of new traffic relative to the others, 0…1000. Default 1. 0: existing sessions only. */
  weight: v.optional(integer(0, LIMITS.maxWeight), 1),
  /** Name of a Fetcher binding (service, VPC or mTLS) to reach it through. Default null: plain `fetch`. */
  via: v.optional(
    v.nullable(v.pipe(v.string(BINDING_RANGE), v.regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, BINDING_RANGE))),
    null,
  ),
  /** Free words about it: zone, release. Default none. */
  labels: v.optional(LabelsSchema, {}),
  /** Its tier, 0…9: those of 0 serve, and each later one what the earlier ones have too few healthy backends for. Default 0. */
  priority: v.optional(PrioritySchema, 0),
};

/** A backend as an operator writes it. Where `admin` is left out, the state it is in stays; a new one is active. */
export const BackendInputSchema = record({ ...backendEntries, admin: v.optional(AdminStateSchema) });
export type BackendInput = v.InferOutput<typeof BackendInputSchema>;

/** Fields of a backend to change; what is left out stays. */
export const BackendPatchSchema = record({
  url: v.optional(BackendUrlSchema),
  weight: v.optional(integer(0, LIMITS.maxWeight)),
  via: v.optional(backendEntries.via.wrapped),
  labels: v.optional(LabelsSchema),
  priority: v.optional(PrioritySchema),
  admin: v.optional(AdminStateSchema),
});
export type BackendPatch = v.InferOutput<typeof BackendPatchSchema>;

/** A backend in a whole-pool document. */
export const ListedBackendSchema = record({
  id: BackendIdSchema,
  ...backendEntries,
  admin: v.optional(AdminStateSchema),
});
type ListedBackend = v.InferOutput<typeof ListedBackendSchema>;

/** A backend as the ring holds it. */
export type Backend = Readonly<Omit<ListedBackend, "admin">> & { readonly admin: AdminState };
