/** Finds places in JSON that `JSON.parse` does not tell, or tells differently in every version of Node. */

export interface JsonScan {
  /** Offset of the first mistake and what was expected there; null where the text is JSON. */
  readonly error: { readonly at: number; readonly message: string } | null
  /** Offsets of the values of the outermost object, by key. */
  readonly values: ReadonlyMap<string, number>
}

type Expect = "value" | "value or ]" | "key" | "key or }" | ":" | ", or }" | ", or ]" | "end"

const expected: { readonly [E in Expect]: string } = {
  "value": "a value", "value or ]": "a value or `]`", "key": "a name in double quotes", "key or }": "a name in double quotes or `}`",
  ":": "`:`", ", or }": "`,` or `}`", ", or ]": "`,` or `]`", "end": "nothing more",
}

const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const stringPattern = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
const wordPattern = /true|false|null/y
const blankPattern = /[ \t\n\r]*/y

/** Reads a text as JSON (RFC 8259) without building it. Nesting uses a list, so that depth is no danger. */
export function scanJson(text: string): JsonScan {
  const values = new Map<string, number>()
  const open: ("{" | "[")[] = []
  let expect: Expect = "value"
  let key = ""
  let at = 0
  for (;;) {
    at += match(blankPattern, text, at).length
    if (at >= text.length) return { values, error: expect === "end" ? null : { at, message: `the line ends where ${expected[expect]} is expected` } }
    const c = text[at] ?? ""
    const step: Step | null = next(text, at, c, expect, open)
    if (step === null) return { values, error: { at, message: `${expected[expect]} is expected here` } }
    if (step.key !== null) key = step.key
    if (expect.startsWith("value") && open.length === (c === "{" || c === "[" ? 2 : 1) && open[0] === "{" && c !== "]") values.set(key, at)
    expect = step.expect
    at += step.length
  }
}

interface Step { readonly expect: Expect; readonly length: number; readonly key: string | null }

function next(text: string, at: number, c: string, expect: Expect, open: ("{" | "[")[]): Step | null {
  if ((c === "}" && (expect === "key or }" || expect === ", or }")) || (c === "]" && (expect === "value or ]" || expect === ", or ]"))) {
    open.pop()
    return { expect: after(open), length: 1, key: null }
  }
  switch (expect) {
    case "value":
    case "value or ]": {
      if (c === "{" || c === "[") {
        open.push(c)
        return { expect: c === "{" ? "key or }" : "value or ]", length: 1, key: null }
      }
      const length = Math.max(match(stringPattern, text, at).length, match(numberPattern, text, at).length, match(wordPattern, text, at).length)
      return length === 0 ? null : { expect: after(open), length, key: null }
    }
    case "key":
    case "key or }": {
      const name = match(stringPattern, text, at)
      return name === "" ? null : { expect: ":", length: name.length, key: open.length === 1 ? String(JSON.parse(name)) : null }
    }
    case ":": return c === ":" ? { expect: "value", length: 1, key: null } : null
    case ", or }": return c === "," ? { expect: "key", length: 1, key: null } : null
    case ", or ]": return c === "," ? { expect: "value", length: 1, key: null } : null
    case "end": return null
  }
}

function after(open: readonly ("{" | "[")[]): Expect {
  const inner = open.at(-1)
  return inner === undefined ? "end" : inner === "{" ? ", or }" : ", or ]"
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0] ?? ""
}
