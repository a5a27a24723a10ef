/** Whether a value of the environment is something to fetch through. */
export function isFetcher(binding: unknown): binding is Fetcher {
  return (
    typeof binding === "object" &&
    binding !== null &&
    "fetch" in binding &&
    typeof binding.fetch === "function"
  );
}
