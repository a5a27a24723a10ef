import type { Context } from "hono";
import type { PoolCommand, Precondition } from "../../durable/model/command.ts";
import type { DirectoryDocument } from "../../durable/model/document.ts";
import type { PoolName } from "../../durable/model/names.ts";
import type { PoolPreview } from "../../durable/model/preview.ts";
import type { Result } from "../../durable/model/result.ts";
import { refused } from "./answer.ts";
import type { Base } from "./apply-document.ts";
import { ALWAYS } from "./change.ts";
import { type AdminContext, readAuthor } from "./context.ts";
import { previewPool, rehearseDirectoryChange } from "./dry-run.ts";

interface Asked {
  readonly name: PoolName;
  readonly command: PoolCommand;
  readonly precondition: Precondition;
}

/** Answers with what a document would do to the routes, and to every pool that it would make, change or delete. */
export async function previewDocument(
  context: Context<AdminContext>,
  sent: DirectoryDocument,
  base: Base,
): Promise<Response> {
  const author = readAuthor(context);
  if (!author.ok) return refused(context, author.refusal);
  const rehearsal = await rehearseDirectoryChange(context, {
    command: { kind: "put-routes", routes: sent.routes, pools: sent.pools.map(({ name }) => name) },
    precondition: { ifMatch: [base.directory.version], ifAbsent: false },
    author: author.value,
  });
  if (!rehearsal.ok) return refused(context, rehearsal.refusal);
  const pools: (PoolPreview & { readonly name: PoolName })[] = [];
  for (const { name, command, precondition } of changesOf(sent, base)) {
    const shown: Result<PoolPreview> = await previewPool(context, {
      pool: name,
      command,
      precondition,
      author: author.value,
    });
    if (!shown.ok) return refused(context, shown.refusal);
    pools.push({ name, ...shown.value });
  }
  const { version } = base.directory;
  return context.json({ version, changes: rehearsal.value.applied.changes, pools });
}

function changesOf(sent: DirectoryDocument, base: Base): readonly Asked[] {
  const documents = new Map(sent.pools.map(({ name, document }) => [name, document]));
  const puts = base.pools.flatMap(({ name, precondition }): readonly Asked[] => {
    const document = documents.get(name);
    return document === undefined || precondition === null
      ? []
      : [{ name, command: { kind: "put-pool", document }, precondition }];
  });
  const removals = base.removed.flatMap(({ name, version }): readonly Asked[] =>
    version === null
      ? []
      : [{ name, command: { kind: "delete-pool" }, precondition: { ...ALWAYS, ifMatch: [version] } }],
  );
  return [...puts, ...removals];
}
