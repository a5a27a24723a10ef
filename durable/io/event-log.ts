import type { Delivery } from "../model/delivery.ts";
import type { EventsRequest, HealthEvent, Occurrence } from "../model/event.ts";
import { LIMITS } from "../model/limits.ts";

/**
 * The events of a pool on disk, and those on their way to webhooks. Its tables are made by the migrations of `Store`, which
 * comes first. Every method throws when storage fails; what is to be written together with more is written within
 * `Store.write`.
 */
export class EventLog {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** Id of the last event there ever was, of a pool of this name that was deleted too; 0: none. */
  get lastId(): number {
    const [row] = this.#storage.sql.exec<{ id: number }>("SELECT id FROM last_event").toArray();
    return row?.id ?? 0;
  }

  /** Events that are kept, oldest first. */
  read({ after, limit }: EventsRequest): readonly HealthEvent[] {
    const query = "SELECT json FROM events WHERE id > ? ORDER BY id LIMIT ?";
    const rows = this.#storage.sql.exec<{ json: string }>(query, after, limit).toArray();
    return rows.map(({ json }) => JSON.parse(json) as HealthEvent);
  }

  /** What happened as the events that come next, with the version of the pool that came of it. Nothing is written yet. */
  number(occurrences: readonly Occurrence[], version: number): readonly HealthEvent[] {
    if (occurrences.length === 0) return [];
    const firstId = this.lastId + 1;
    return occurrences.map((occurrence, index) => ({ id: firstId + index, version, ...occurrence }));
  }

  /** Adds events, the last of them the newest; of all there are, the oldest are forgotten. */
  append(events: readonly HealthEvent[]): void {
    const last = events.at(-1);
    if (last === undefined) return;
    const { sql } = this.#storage;
    for (const event of events.slice(-LIMITS.events))
      sql.exec("INSERT INTO events VALUES (?, ?)", event.id, JSON.stringify(event));
    sql.exec("DELETE FROM events WHERE id <= ?", last.id - LIMITS.events);
    sql.exec("INSERT OR REPLACE INTO last_event VALUES (0, ?)", last.id);
  }

  /** Forgets every event, but not how many there were. */
  clear(): void {
    this.#storage.sql.exec("DELETE FROM events");
  }

  /** What is on its way, by the id of its event. */
  readOutbox(): readonly Delivery[] {
    const query = "SELECT json FROM outbox ORDER BY event, url";
    const rows = this.#storage.sql.exec<{ json: string }>(query).toArray();
    return rows.map(({ json }) => JSON.parse(json) as Delivery);
  }

  /** Writes what differs between two states of what is on its way, all or nothing. */
  writeOutbox(before: readonly Delivery[], after: readonly Delivery[]): void {
    if (before === after) return;
    const [kept, stored] = [new Set(after.map(keyOf)), new Set(before)];
    const { sql } = this.#storage;
    this.#storage.transactionSync(() => {
      for (const delivery of before) {
        if (!kept.has(keyOf(delivery)))
          sql.exec("DELETE FROM outbox WHERE event = ? AND url = ?", delivery.message.event.id, delivery.url);
      }
      for (const delivery of after) {
        if (!stored.has(delivery)) {
          const { id } = delivery.message.event;
          sql.exec(
            "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?)",
            id,
            delivery.url,
            JSON.stringify(delivery),
          );
        }
      }
    });
  }
}

function keyOf({ url, message }: Delivery): string {
  return `${message.event.id} ${url}`;
}
