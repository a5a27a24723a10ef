import type { QuicLbConfig, QuicLbExport } from "../model/quic-lb-export.ts";
import { encodeServerId } from "../model/server-id.ts";
import type { EpochMs } from "../model/time.ts";
import type { TokenConfigView, TokensView } from "../model/view.ts";
import { regionOf } from "./project.ts";
import type { LiveRing } from "./ring-state.ts";
import { type ConfigPhase, type HeldConfig, type Moment, smallestSpace } from "./token-configs.ts";

/** The tokens of a pool as an operator may see them at any time: everything but the keys. */
export function projectTokensView(
  { tokens, backends }: LiveRing,
  governsAtMs: Moment["governsAtMs"],
): TokensView {
  const space = smallestSpace(tokens.configs);
  const [used, reserved] = [backends.length, tokens.reserved.length];
  return {
    configs: tokens.configs.map((config) => toView(config, governsAtMs)),
    serverIds: { used, reserved, free: Math.max(0, space - used - reserved) },
  };
}

function toView(config: HeldConfig, governsAtMs: Moment["governsAtMs"]): TokenConfigView {
  const { id, generator, serverIdBytes, nonceBytes, createdMs, phase } = config;
  const untilMs = endOf(phase, governsAtMs);
  return { id, generator, serverIdBytes, nonceBytes, phase: phase.kind, createdMs, untilMs };
}

function endOf(phase: ConfigPhase, governsAtMs: Moment["governsAtMs"]): EpochMs | null {
  switch (phase.kind) {
    case "spreading":
      return governsAtMs(phase.sinceVersion);
    case "writing":
      return null;
    case "retired":
      return phase.untilMs;
  }
}

/** Every readable configuration for whoever routes by the same ids elsewhere. The keys are in it, in clear. */
export function projectQuicLbExport(ring: LiveRing): QuicLbExport {
  return {
    "ietf-quic-lb-middlebox:quic-lb": {
      "cid-configs": ring.tokens.configs.map((config) => toQuicLb(config, ring)),
    },
  };
}

function toQuicLb(config: HeldConfig, { backends }: LiveRing): QuicLbConfig {
  return {
    "config-rotation-bits": config.id,
    "first-octet-encodes-cid-length": true,
    "server-id-length": config.serverIdBytes,
    "nonce-length": config.nonceBytes,
    ...(config.generator === "plaintext" ? {} : { "cid-key": (config.key.match(/../g) ?? []).join(":") }),
    "server-id-mappings": backends.map((backend) => ({
      "server-id": octets(encodeServerId(config, backend.serverId, regionOf(backend))),
      "server-address": new URL(backend.url).host,
    })),
  };
}

function octets(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
