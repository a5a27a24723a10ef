import type { HistoryEntry, Part, VersionRecord } from "../model/history.ts";
import { diff } from "./diff.ts";

/** What is kept whole under a version: a document's fields, one of which is a list of things with ids. */
export type Kept = Readonly<Record<string, unknown>>;

/** Name of the part that holds everything but the list; no id is empty. */
const HEAD = "";

interface Head {
  readonly fields: Kept;
  /** Of the things in the list, in its order. */
  readonly ids: readonly string[];
}

interface Identified {
  readonly id: string;
}

/** The parts that differ between two documents, of which `list` names the field with the list; null: no document. */
export function differingParts(
  before: Kept | null,
  after: Kept | null,
  list: string,
): readonly Pick<Part, "name" | "json">[] {
  const [from, to] = [takeApart(before, list), takeApart(after, list)];
  const names = new Set([...from.keys(), ...to.keys()]);
  return [...names].flatMap((name) => {
    const json = to.get(name) ?? null;
    return from.get(name) === json ? [] : [{ name, json }];
  });
}

function takeApart(document: Kept | null, list: string): ReadonlyMap<string, string> {
  if (document === null) return new Map();
  const { [list]: listed, ...fields } = document;
  const things = Array.isArray(listed) ? listed.filter(isIdentified) : [];
  const head: Head = { fields, ids: things.map(({ id }) => id) };
  return new Map([
    [HEAD, JSON.stringify(head)],
    ...things.map((thing) => [thing.id, JSON.stringify(thing)] as const),
  ]);
}

/** A document out of its parts; null: there was none. */
export function assemble(parts: readonly Part[], list: string): Kept | null {
  return new Assembly(parts, list).document();
}

/** Every version of a row of them with all that it changed, from the parts before the first of them and those since. */
export function projectVersions(
  entries: readonly HistoryEntry[],
  base: readonly Part[],
  since: readonly Part[],
  list: string,
): readonly VersionRecord[] {
  const assembly = new Assembly(base, list);
  const pending = [...since];
  const takeUntil = (version: number): readonly Part[] => {
    const end = pending.findIndex((part) => part.version > version);
    return pending.splice(0, end === -1 ? pending.length : end);
  };
  return entries.map((entry) => {
    // Versions between these that were forgotten have left parts, too.
    assembly.lay(takeUntil(entry.version - 1));
    const parts = takeUntil(entry.version);
    const touched = new Set(parts.map(({ name }) => name));
    const before = assembly.excerpt(touched);
    assembly.lay(parts);
    return { ...entry, changes: [...diff(before, assembly.excerpt(touched)), ...entry.changes] };
  });
}

/** A document in parts that later ones are laid over. */
class Assembly {
  readonly #list: string;
  readonly #things = new Map<string, unknown>();
  #head: Head | null = null;

  constructor(parts: readonly Part[], list: string) {
    this.#list = list;
    this.lay(parts);
  }

  lay(parts: readonly Part[]): void {
    for (const { name, json } of parts) {
      const value = json === null ? null : JSON.parse(json);
      if (name === HEAD) this.#head = value;
      else if (value === null) this.#things.delete(name);
      else this.#things.set(name, value);
    }
  }

  document(): Kept | null {
    return this.#head === null ? null : this.#with(this.#head.fields, this.#head.ids);
  }

  /** As much of the document as differs where only these parts do; without the head, order is left out of account. */
  excerpt(names: ReadonlySet<string>): Kept {
    return names.has(HEAD) ? (this.document() ?? {}) : this.#with({}, [...names]);
  }

  #with(fields: Kept, ids: readonly string[]): Kept {
    const things = ids.map((id) => this.#things.get(id)).filter((thing) => thing !== undefined);
    return { ...fields, [this.#list]: things };
  }
}

function isIdentified(value: unknown): value is Identified {
  return typeof value === "object" && value !== null && "id" in value && typeof value.id === "string";
}
