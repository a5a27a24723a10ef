import { constants } from "node:os";
import { Complaint } from "./complaint.ts";
import { benchHedging } from "./hedging.ts";
import { parseOptions, USAGE } from "./options.ts";
import { benchPolicies } from "./policies.ts";
import { benchProbes } from "./probes.ts";
import { benchProxying } from "./proxying.ts";
import { Teardown } from "./teardown.ts";
import { benchTokens } from "./tokens.ts";

const teardown = new Teardown();
const interruption = new AbortController();

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    const code = 128 + constants.signals[signal];
    // The second time nobody wants to wait any more.
    if (interruption.signal.aborted) process.exit(code);
    interruption.abort();
    void teardown.run().finally(() => process.exit(code));
  });
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === null) console.log(USAGE);
  if (options !== null && options.only.length > 0) await benchProxying(options, teardown);
  if (options?.tokens === true) await benchTokens(teardown);
  if (options?.policies === true) await benchPolicies(teardown);
  if (options?.probes === true) await benchProbes(teardown);
  if (options?.hedging === true) await benchHedging(teardown);
} catch (error) {
  // What fails because it was interrupted is no news.
  if (!interruption.signal.aborted) {
    console.error(error instanceof Complaint ? error.message : error);
    process.exitCode = 1;
  }
}
await teardown.run();
// What was given up halfway may still be waiting for something. An interruption has an exit code of its own.
if (!interruption.signal.aborted) process.exit();
