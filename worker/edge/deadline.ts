/** Resolves to this when the deadline came first. */
export const TOO_LATE = Symbol("too late");

/**
 * What `work` gives, or `TOO_LATE` after `timeoutMs`. One timer, cleared when it is not needed, and a closure that holds
 * on to nothing: both count on the hot path.
 */
export function orTooLate<Value>(work: Promise<Value>, timeoutMs: number): Promise<Value | typeof TOO_LATE> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(TOO_LATE), timeoutMs);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
