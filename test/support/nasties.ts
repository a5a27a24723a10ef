import * as fc from "fast-check";

/** What has broken programs before, theirs or ours: each is short, so that several fit together. */
const FRAGMENTS: readonly string[] = [
  "",
  " ",
  "\t",
  "\0",
  "\r\n",
  "\n",
  "\r\nX-Injected: 1\r\n\r\n",
  "%00",
  "%0d%0a",
  "%",
  "%%",
  "%2",
  "%zz",
  "%2e",
  "%2e%2e",
  "%252e%252e",
  "%2f",
  "%5c",
  "%255f",
  "%c0%ae",
  "%ff",
  "%u002e",
  ".",
  "..",
  "...",
  "..;",
  ".%2e",
  "/",
  "//",
  "\\",
  "/../",
  "/./",
  "\\..\\",
  ";",
  ",",
  "=",
  "==",
  ":",
  "@",
  "?",
  "#",
  "&",
  "*",
  "[",
  "]",
  "[::1]",
  "[::ffff:127.0.0.1]",
  "::",
  "127.0.0.1",
  "0x7f.1",
  "localhost",
  '"',
  "'",
  "`",
  "<script>alert(1)</script>",
  "${7*7}",
  "{{7*7}}",
  "$(id)",
  "../../../etc/passwd",
  "_ring",
  "/_ring",
  "__Host-ring-",
  "__Host-ring-default=",
  "ring=",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "null",
  "undefined",
  "NaN",
  "Infinity",
  "-0",
  "-1",
  "0",
  "1e309",
  "0x10",
  "4294967296",
  "9007199254740993",
  "99999999999999999999",
  "true",
  "[]",
  "{}",
  "é",
  "ß",
  "İ",
  "ſ",
  "K",
  "Ａ",
  "\u00a0",
  "\u2028",
  "\u202e",
  "\ufeff",
  "\ufffd",
  "😀",
  "\ud800",
  "\udc00",
  "\u0080",
  "ÿ",
  "chunked",
  "keep-alive",
  "close",
  "HTTP/1.1",
  "GET",
  "Bearer ",
  "draining",
  "max-age=0",
  "q=",
  "*/*",
];

/** Long rows, which find quadratic time. */
const ROWS: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom(" ", "\t", ";", ",", "/", ".", "=", "a", "%2e", "../", "::", "; ", "é", "[", "q=1,"),
    fc.constantFrom(10, 100, 2_000),
  )
  .map(([piece, times]) => piece.repeat(times));

const PIECE: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...FRAGMENTS) },
  { weight: 3, arbitrary: fc.string({ unit: "grapheme-ascii", maxLength: 8 }) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 8 }) },
  { weight: 1, arbitrary: ROWS },
);

/** Texts that nobody in his right mind sends. */
export const NASTY_TEXT: fc.Arbitrary<string> = fc
  .array(PIECE, { maxLength: 6 })
  .map((pieces) => pieces.join(""));

/** The same, as a header may carry it: `Headers` takes single bytes, and no line ends or NUL. */
export const NASTY_HEADER: fc.Arbitrary<string> = NASTY_TEXT.map((text) =>
  // oxlint-disable-next-line no-control-regex -- These are what a header must not hold.
  Buffer.from(text, "utf8")
    .toString("latin1")
    .replaceAll(/[\r\n\0]/g, ""),
);

/** `JSON.parse` makes `Infinity` of `1e999`. */
const NUMBERS: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(
    0,
    -0,
    -1,
    1,
    0.5,
    1e21,
    1e308,
    Infinity,
    -Infinity,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_VALUE,
    2 ** 31,
    2 ** 32,
    -(2 ** 53),
  ),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
);

/** Anything that JSON can say, as `JSON.parse` makes it: `__proto__` is a field like any other. */
export const NASTY_JSON: fc.Arbitrary<unknown> = fc.letrec<{ readonly any: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(null, true, false),
    NUMBERS,
    NASTY_TEXT,
    fc.array(tie("any"), { maxLength: 4 }),
    fc.array(fc.tuple(NASTY_TEXT, tie("any")), { maxLength: 4 }).map((fields) => objectOf(fields)),
    fc.constantFrom(10, 500).map((depth) => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`)),
  ),
})).any;

/** A document with one thing wrong in it, somewhere: taken away, put in or replaced. */
export function spoiled(documents: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc
    .tuple(
      documents,
      fc.array(fc.nat({ max: 1_000 }), { minLength: 1, maxLength: 6 }),
      NASTY_JSON,
      fc.oneof(NASTY_TEXT, fc.constant("")),
    )
    .map(([document, way, value, name]) => spoil(document, way, value, name));
}

function spoil(
  document: unknown,
  [turn = 0, ...rest]: readonly number[],
  value: unknown,
  name: string,
): unknown {
  if (typeof document !== "object" || document === null) return value;
  const fields: readonly (readonly [string, unknown])[] = Object.entries(document);
  const at = turn % (fields.length + 2);
  const spoilt =
    at === fields.length
      ? [...fields, [name, value] as const]
      : rest.length === 0
        ? fields.filter((_, index) => index !== at)
        : fields.map(
            ([key, held], index) => [key, index === at ? spoil(held, rest, value, name) : held] as const,
          );
  return Array.isArray(document) ? spoilt.map(([, item]) => item) : objectOf(spoilt);
}

function objectOf(fields: readonly (readonly [string, unknown])[]): unknown {
  const made = {};
  for (const [name, value] of fields)
    Object.defineProperty(made, name, { value, enumerable: true, writable: true, configurable: true });
  return made;
}
