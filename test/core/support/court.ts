import type { Occurrence } from "../../../durable/model/event.ts";
import type { PassiveState } from "../../../durable/model/health.ts";
import type { Report } from "../../../durable/model/sync.ts";
import { after, type EpochMs } from "../../../durable/model/time.ts";
import { isHurried, nextDeadlineMs, passDeadlines } from "../../../durable/state/agenda.ts";
import { Counters } from "../../../durable/state/counters.ts";
import { Evidence } from "../../../durable/state/evidence.ts";
import { judge } from "../../../durable/state/judge.ts";
import { returnEvents } from "../../../durable/state/return-events.ts";
import type { HeldBackend, LiveRing } from "../../../durable/state/ring-state.ts";
import { moment, NOON } from "./build.ts";

/** A ring that judges by reports, in virtual time, as the object does it, without any I/O. */
export class Court {
  ring: LiveRing;
  nowMs: EpochMs = NOON;
  /** All that happened, oldest first. */
  readonly occurrences: Occurrence[] = [];
  readonly #counters = new Counters();
  #evidence = new Evidence();

  constructor(ring: LiveRing) {
    this.ring = ring;
    this.adopt(ring);
  }

  /** Goes on with another state of the pool. */
  adopt(ring: LiveRing): void {
    this.ring = ring;
    this.#evidence.adopt(ring);
  }

  /** Changes one backend as an operator would. */
  change(id: string, changed: Partial<HeldBackend>): void {
    const backends = this.ring.backends.map((held) => (held.id === id ? { ...held, ...changed } : held));
    this.adopt({ ...this.ring, backends, version: this.ring.version + 1 });
  }

  /** Hears a report; `isolate` and batch number say whether it did before. Tells what came of it. */
  hear(report: Report, isolate = `isolate-${this.#heard++}`): readonly Occurrence[] {
    if (this.#counters.add(isolate, report)) this.#evidence.add(report, this.nowMs);
    const suspects = report.backends.map(({ id }) => id);
    const { state, occurrences } = judge(this.ring, this.#evidence, suspects, {
      nowMs: this.nowMs,
      refreshMs: this.ring.config.sync.refreshMs,
    });
    if (state !== this.ring) this.adopt(state);
    this.#evidence.told(occurrences);
    this.occurrences.push(...occurrences);
    return occurrences;
  }

  /** Whether isolates are to report sooner than usual. */
  get isUrgent(): boolean {
    return isHurried(this.ring) || this.#evidence.isWaiting(this.ring.config.sync.refreshMs, this.nowMs);
  }

  /** Lets time go by; the alarm goes off whenever something is due. Tells what came of it. */
  wait(forMs: number): readonly Occurrence[] {
    const untilMs = after(this.nowMs, forMs);
    const before = this.occurrences.length;
    for (;;) {
      const dueMs = nextDeadlineMs(this.ring, () => this.nowMs);
      if (dueMs === null || dueMs > untilMs) break;
      this.nowMs = dueMs;
      const next = passDeadlines(this.ring, moment(this.nowMs));
      this.occurrences.push(...returnEvents(this.ring, next, "time", this.nowMs));
      if (next.kind === "absent" || next === this.ring) throw new Error("what is due is not done");
      this.adopt(next);
    }
    this.nowMs = untilMs;
    return this.occurrences.slice(before);
  }

  /** Loses all that is only in memory. */
  evict(): void {
    this.#evidence = new Evidence();
    this.adopt(JSON.parse(JSON.stringify(this.ring)));
  }

  backend(id: string): HeldBackend {
    const found = this.ring.backends.find((backend) => backend.id === id);
    if (found === undefined) throw new Error(`there is no backend ${id}`);
    return found;
  }

  passive(id: string): PassiveState {
    return this.backend(id).observed.passive;
  }

  /** Kinds of all events of a backend, oldest first. */
  kinds(id: string): readonly string[] {
    return this.occurrences.flatMap(({ backend, kind }) => (backend === id ? [kind] : []));
  }

  #heard = 0;
}
