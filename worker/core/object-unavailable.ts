/**
 * Why an object gave no answer. `overloaded`: it has more to do than it can, and asking again would make that worse.
 * `interrupted`: it was restarted or moved while it was asked, and may well answer if it is asked again. `failed`: all else.
 */
export type ObjectFailure = "overloaded" | "interrupted" | "failed";

/**
 * Reads what the platform writes on errors of calls to objects. Being overloaded counts most. `retryable` alone does not say
 * that the call was not carried out (https://developers.cloudflare.com/durable-objects/best-practices/error-handling/).
 */
function classify(error: unknown): ObjectFailure {
  if (isMarked(error, "overloaded")) return "overloaded";
  return isMarked(error, "retryable") || isMarked(error, "durableObjectReset") ? "interrupted" : "failed";
}

/** An object that could not be reached, or that failed. What it refuses is a `Result` and not this. */
export class ObjectUnavailable extends Error {
  override readonly name = "ObjectUnavailable";
  readonly failure: ObjectFailure;

  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.failure = classify(cause);
  }
}

function isMarked(error: unknown, mark: string): boolean {
  return error instanceof Error && Reflect.get(error, mark) === true;
}
