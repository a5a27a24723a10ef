import { OPERATOR_TOKEN } from "./edge.ts";

/** What the admin API answered. */
export interface AdminAnswer {
  readonly status: number;
  readonly etag: string | null;
  readonly headers: Headers;
  // The tests look into bodies of many shapes, and a wrong guess fails them.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

/** Speaks to the admin API as an operator would. */
export class AdminClient {
  readonly #base: string;
  readonly #token: string;

  constructor(edgeUrl: string, token: string = OPERATOR_TOKEN) {
    this.#base = `${edgeUrl}/_ring`;
    this.#token = token;
  }

  async send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<AdminAnswer> {
    const response = await fetch(this.#base + path, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      etag: response.headers.get("etag"),
      headers: response.headers,
      body: text === "" ? null : JSON.parse(text),
    };
  }

  /** Sends, and throws what the API said unless it agreed: for arranging. */
  async do(method: string, path: string, body?: unknown): Promise<AdminAnswer> {
    const answer = await this.send(method, path, body);
    if (answer.status >= 300)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer;
  }
}
