// What is used of two packages that come without types.

declare module "hashring" {
  export default class HashRing {
    /** Servers with their weights; `max cache size`: how many keys' servers are remembered, by default 5000. */
    constructor(
      servers: Readonly<Record<string, number>>,
      algorithm: "md5",
      options: { readonly "max cache size"?: number },
    );
    get(key: string): string | undefined;
  }
}

declare module "consistent-hash" {
  export default class ConsistentHash {
    /** `range`: places that points can have, by default 100,003. */
    constructor(options: { readonly range: number });
    /** Puts a node at so many points; by default 40. */
    add(node: string, points: number): this;
    get(key: string): string | null;
  }
}
