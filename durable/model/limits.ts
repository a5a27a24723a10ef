/** What may be kept and sent. Everything outside is refused with field, value and range. */
export const LIMITS = {
  /** Backends in one pool. A snapshot of so many stays near 250 kB, and their labels come on top. */
  backendsPerPool: 1_000,
  /** Points of all backends of one pool on its ring: an isolate takes some 100 ms to prepare so many. */
  ringPoints: 200_000,
  /** Server ids of one pool, in use and reserved together, whatever its tokens have room for. */
  serverIds: 10_000,
  /** Events kept of one pool; the oldest go first. */
  events: 1_000,
  /** Events of one pool in one answer. */
  eventsPerAnswer: 500,
  /**
   * Versions kept of one pool, or of the directory, that somebody asked for, and as many of those that came by themselves;
   * the oldest go first. Some dozens more may be there for a while.
   */
  versions: 1_000,
  /** Versions in one answer. */
  versionsPerAnswer: 100,
  /** What is written for the versions kept of one pool, or of the directory; the oldest go first. */
  historyBytes: 20_000_000,
  /** Minutes kept in which leases were lost, of one pool or of the directory. */
  lostLeaseMinutes: 1_000,
  /** Events that wait for one webhook; the oldest go first. */
  deliveriesPerWebhook: 1_000,
  /** Events of one backend that a webhook is told in any minute; of more, only the last one, when the minute is over. */
  toldPerBackendMinute: 5,
  /** Events of one pool that a webhook is told in any minute; more come when it is over, of each backend the last one. */
  toldPerPoolMinute: 60,
  /** Versions that are kept of what isolates routed from; the oldest go first. */
  archivedVersions: 200,
  /** Size of them all, characters. */
  archivedCharacters: 20_000_000,
  /** Longest of them, characters: SQLite takes 2 MB, and a character may be three bytes. One that is longer is not kept. */
  archivedDocument: 600_000,
  routes: 500,
  pools: 200,
  labelsPerBackend: 32,
  labelValueLength: 256,
  headerMatchesPerRoute: 8,
  poolsPerSplit: 8,
  pathLength: 1_024,
  urlLength: 2_048,
  maxWeight: 1_000,
  maxPriority: 9,
  /** Longest drain: seven days. */
  maxDrainMs: 7 * 24 * 3_600_000,
  /** Body of one admin request. */
  bodyBytes: 1_048_576,
  /** A pool's whole document on its way to the ring. */
  poolBytes: 4 * 1_048_576 - 65_536,
  /** Body of the one that holds the whole directory: some forty pools of 1,000 backends. */
  documentBytes: 8 * 1_048_576,
} as const;
