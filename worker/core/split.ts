import type { PoolName, RouteId } from "../../durable/model/names.ts";
import type { Hash64, KeyedHash } from "./keyed-hash.ts";
import { cost } from "./policies/rendezvous.ts";

/** One pool of a split. */
export interface Side {
  readonly pool: PoolName;
  /** 0: only clients that hold one of its tokens. */
  readonly weight: number;
}

/** A weighted split of a route's clients between pools, made ready to choose from. */
export class Split {
  readonly sides: readonly Side[];
  readonly #hash: KeyedHash;
  readonly #route: RouteId;
  readonly #names: readonly Hash64[];

  /** `hash` is keyed with the directory's secret. */
  constructor(route: RouteId, sides: readonly Side[], hash: KeyedHash) {
    this.sides = sides;
    this.#hash = hash;
    this.#route = route;
    this.#names = sides.map(({ pool }) => hash(`pool ${pool}`));
  }

  /**
   * The side of a client without token: by weighted rendezvous hashing of what names its connection, so it stays there
   * while weights stay, and only the smallest share changes sides with them. `chance` decides for one without a name.
   */
  choose(identity: string | null, chance: number): PoolName | null {
    const key = this.#hash(`route ${this.#route} ${identity ?? `chance ${chance}`}`);
    let best: PoolName | null = null;
    let bestCost = Number.POSITIVE_INFINITY;
    this.sides.forEach(({ pool, weight }, index) => {
      const name = this.#names[index];
      if (weight === 0 || name === undefined) return;
      const itsCost = cost(key, name, weight);
      if (itsCost < bestCost) {
        best = pool;
        bestCost = itsCost;
      }
    });
    return best;
  }
}
