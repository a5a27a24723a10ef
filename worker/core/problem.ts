/** Why a request of the data plane was answered by us and not by a backend. */
export interface Problem {
  readonly status: 400 | 404 | 408 | 502 | 503 | 504 | 508;
  readonly title: string;
  /** One sentence for whoever sees it: nothing secret, no address. */
  readonly detail: string;
  readonly retryAfterSeconds?: number;
}

export const BAD_TARGET: Problem = {
  status: 400,
  title: "Bad request",
  detail: "The request's URL makes no sense.",
};

export const BROKEN_UPLOAD: Problem = {
  status: 400,
  title: "Broken upload",
  detail: "The request's body broke off or made no sense.",
};

export const SLOW_UPLOAD: Problem = {
  status: 408,
  title: "Upload timed out",
  detail: "The rest of the request's body did not come in time.",
};

export const NO_ROUTE: Problem = {
  status: 404,
  title: "No route",
  detail: "No route matches this host, path and method.",
};

export const NO_SNAPSHOT: Problem = {
  status: 503,
  title: "Not ready",
  detail: "The routing state could not be loaded yet.",
  retryAfterSeconds: 1,
};

export const NO_POOL: Problem = {
  status: 503,
  title: "No pool",
  detail: "The pool that would serve this request has not been set up.",
  retryAfterSeconds: 5,
};

export const NO_BACKEND: Problem = {
  status: 503,
  title: "No backend available",
  detail: "No backend takes this request at the moment.",
  retryAfterSeconds: 5,
};

export const FULL: Problem = {
  status: 503,
  title: "All backends busy",
  detail: "Every backend that could take this request is busy.",
  retryAfterSeconds: 1,
};

export const SHED: Problem = {
  status: 503,
  title: "Overloaded",
  detail: "Part of the traffic is turned away for now.",
  retryAfterSeconds: 10,
};

export const SESSION_LOST: Problem = {
  status: 503,
  title: "Session unavailable",
  detail: "The backend that holds this session is not available.",
  retryAfterSeconds: 5,
};

export const UNREACHABLE: Problem = {
  status: 502,
  title: "Backend unreachable",
  detail: "The backend could not be reached or broke off its answer.",
};

export const TIMED_OUT: Problem = {
  status: 504,
  title: "Backend timed out",
  detail: "The backend did not answer in time.",
};

export const LOOP: Problem = {
  status: 508,
  title: "Loop detected",
  detail: "This request has passed through this load balancer before.",
};

/** Answers with a problem: `application/problem+json` (RFC 9457) to clients that accept JSON, else a short page. */
export function renderProblem(problem: Problem, accept: string | null, requestId: string): Response {
  const { status, title, detail, retryAfterSeconds } = problem;
  const headers = new Headers({ "cache-control": "no-store", "x-request-id": requestId });
  if (retryAfterSeconds !== undefined) headers.set("retry-after", String(retryAfterSeconds));
  if (prefersPage(accept)) {
    headers.set("content-type", "text/html; charset=utf-8");
    return new Response(page(problem, requestId), { status, headers });
  }
  headers.set("content-type", "application/problem+json");
  return new Response(JSON.stringify({ type: "about:blank", status, title, detail, requestId }), {
    status,
    headers,
  });
}

/** True for a client that would rather have HTML than JSON, or wants neither; one that says nothing gets JSON. */
function prefersPage(accept: string | null): boolean {
  if (accept === null || accept.trim() === "") return false;
  const wanted = accept.toLowerCase().split(",").map(parseWanted);
  const html = qualityOf(wanted, (type) => type === "text/html");
  const json = qualityOf(wanted, (type) => /^application\/(?:.*\+)?json$/.test(type));
  const any = qualityOf(wanted, (type) => type === "*/*" || type === "application/*");
  return html > 0 ? html >= json : json === 0 && any === 0;
}

interface Wanted {
  readonly type: string;
  /** 0…1 (RFC 9110 §12.4.2). */
  readonly quality: number;
}

function parseWanted(part: string): Wanted {
  const [type = "", ...parameters] = part.split(";").map((piece) => piece.trim());
  const quality = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
  return { type, quality: quality === undefined ? 1 : Number(quality) || 0 };
}

function qualityOf(wanted: readonly Wanted[], matches: (type: string) => boolean): number {
  return Math.max(0, ...wanted.filter(({ type }) => matches(type)).map(({ quality }) => quality));
}

function page({ status, title, detail }: Problem, requestId: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${status} ${title}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}code{opacity:.7}</style>
<h1>${status} ${title}</h1>
<p>${detail}</p>
<p><code>${escapeHtml(requestId)}</code></p>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
