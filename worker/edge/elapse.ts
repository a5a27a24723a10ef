/** Resolves after so long. */
export function elapse(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}

/** Resolves after so long, or when the client leaves. */
export function stay(
  passage: { readonly gone: AbortSignal; readonly isAbandoned: boolean },
  durationMs: number,
): Promise<void> {
  const { gone } = passage;
  if (passage.isAbandoned) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, durationMs);
    const leave = (): void => {
      clearTimeout(timer);
      resolve();
    };
    gone.addEventListener("abort", leave, { once: true });
  });
}

/** What `work` comes to, unless that takes longer than `timeoutMs`: then it rejects. */
export function within<Value>(timeoutMs: number, work: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
