import type { Protocol } from "../../durable/model/outcome.ts";
import type { Credentials } from "./affinity.ts";
import { type Connection, frontIdentity, identifyConnection, protocolOf, readCf } from "./identify.ts";
import type { Front } from "./settings.ts";

/** Who sent a request, as far as that can be told. What costs something is found out when first asked for. */
export class Client implements Credentials {
  readonly headers: Headers;
  readonly query: string;
  /** From `CF-Connecting-IP`, which a client cannot set at the edge; null when unknown. */
  readonly clientAddress: string | null;
  readonly protocol: Protocol;
  readonly #cf: ReturnType<typeof readCf>;
  readonly #front: Front | null;
  #connection: Connection | null | undefined;

  constructor(headers: Headers, cf: object | undefined, query: string, front: Front | null) {
    this.headers = headers;
    this.query = query;
    this.clientAddress = headers.get("cf-connecting-ip");
    this.#cf = readCf(cf);
    this.protocol = protocolOf(this.#cf);
    this.#front = front;
  }

  /** Two letters; null when unknown. */
  get country(): string | null {
    const { country } = this.#cf;
    return typeof country === "string" ? country : null;
  }

  /** Three letters of the data centre it came in by; null when unknown. */
  get colo(): string | null {
    const { colo } = this.#cf;
    return typeof colo === "string" ? colo : null;
  }

  get connection(): Connection | null {
    if (this.#connection === undefined) {
      const front = this.#front;
      this.#connection = identifyConnection({
        cf: this.#cf,
        clientAddress: this.clientAddress,
        front: front === null ? null : frontIdentity(this.headers.get(front.header), front.secret),
      });
    }
    return this.#connection;
  }
}
