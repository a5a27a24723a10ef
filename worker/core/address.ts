/**
 * Why the platform cannot fetch from this URL; null when nothing speaks against it. Workers answer a fetch of a literal
 * address themselves (403, `error code: 1003`), and loopback or local names lead nowhere from the edge.
 */
export function whyUnfetchable(url: string): string | null {
  const hostname = new URL(url).hostname.replace(/\.$/, "");
  // The URL parser has written every IPv4 form (hexadecimal, short, integer) in dotted decimal by now.
  if (/^\d+(?:\.\d+){3}$/.test(hostname) || hostname.startsWith("[")) {
    return "must name its host: the platform does not fetch from literal addresses";
  }
  if (
    !hostname.includes(".") ||
    /(?:^|\.)(?:localhost|localdomain|local|internal|home\.arpa)$/.test(hostname)
  ) {
    return "must name a public host: the platform does not reach local ones";
  }
  return null;
}
