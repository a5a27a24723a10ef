import { expect, vi } from "vitest";
import type { Header } from "./support-client.ts";
import type { PoolSettings, Scene } from "./support-stage.ts";

/** A pool in which a connection stays with its backend, so that a draining one is still asked. */
export const STICKY: PoolSettings = { affinity: [{ by: "connection" }] };

/** Names the one connection that is bound to the backend of a sticky scene. */
export const BOUND: Header = ["MF-CF-Blob", JSON.stringify({ tlsClientRandom: "the bound one" })];

/** Binds that connection to the backend, and drains the backend until the edge knows it. */
export async function bindAndDrain(scene: Scene): Promise<void> {
  scene.answers((_, response) => response.end());
  await scene.ask({ headers: [BOUND] });
  const { backend, admin, name } = scene;
  await admin.do("POST", `/pools/${name}/backends/${backend.id}/drain`, { forMs: 3_600_000, force: true });
  await vi.waitFor(
    async () => {
      await scene.ask({ headers: [BOUND] });
      const { body } = await admin.do("GET", `/pools/${name}/status`);
      expect(body.convergence.outstandingIsolates).toBe(0);
    },
    { timeout: 10_000, interval: 50 },
  );
}
