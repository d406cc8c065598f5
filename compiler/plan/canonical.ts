/** Code in a form that does not depend on layout, documentation, places, the order of fields or the names of local variables. */

export interface CodeForm {
  readonly text: string
  /** Names it takes from outside, in the order of their first occurrence. */
  readonly free: readonly string[]
}

/** A node of the syntax tree, seen as plain data. */
type Node = Readonly<Record<string, unknown>>
type Names = ReadonlyMap<string, string>

const skipped: ReadonlySet<string> = new Set(["span", "opSpan", "verbSpan", "moduleSpan", "doc", "raw", "comments"])

export function canonicalCode(root: object): CodeForm {
  const free: string[] = []
  let fresh = 0

  const bind = (names: Names, more: readonly string[], keep: boolean): Names => {
    const next = new Map(names)
    for (const name of more) next.set(name, keep ? `@${name}` : `#${fresh++}`)
    return next
  }

  function reference(name: string, names: Names): string {
    const bound = names.get(name)
    if (bound !== undefined) return bound
    if (!free.includes(name)) free.push(name)
    return `$${free.indexOf(name)}`
  }

  function walk(value: unknown, names: Names): string {
    if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null"
    if (Array.isArray(value)) return list(value, names)
    const node = value as Node
    if (typeof node["kind"] !== "string") return isIdent(node) ? String(node["name"]) : plain("", node, names)
    return special(node, node["kind"], names) ?? plain(node["kind"], node, names)
  }

  /** Fields and named arguments are sorted, positional ones keep their order. */
  function list(values: readonly unknown[], names: Names): string {
    const named: (readonly [string, string])[] = []
    const other: string[] = []
    for (const v of values) {
      const key = fieldName(v)
      const text = walk(v, names)
      if (key === null) other.push(text)
      else named.push([key, text])
    }
    named.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    return `[${[...other, ...named.map(([, text]) => text)].join(" ")}]`
  }

  function plain(tag: string, node: Node, names: Names): string {
    const keys = Object.keys(node).filter((k) => k !== "kind" && !skipped.has(k) && !(tag === "number" && k === "text")).sort()
    return `(${tag}${keys.map((k) => ` ${k}=${walk(node[k], names)}`).join("")})`
  }

  function special(node: Node, kind: string, names: Names): string | null {
    switch (kind) {
      case "name": return reference(String(node["name"]), names)
      case "lambda": {
        const params = identNames(node["params"])
        return `(lambda ${params.length} ${walk(node["body"], bind(names, params, false))})`
      }
      case "block": {
        let at = names
        const lets = (node["lets"] as readonly Node[]).map((l) => {
          const text = walk(l["value"], at)
          at = bind(at, [identName(l["name"])], false)
          return text
        })
        return `(block ${lets.join(" ")} ${walk(node["result"], at)})`
      }
      case "comprehension": {
        const over = walk(node["over"], names)
        const at = bind(names, [identName(node["variable"])], false)
        return `(for ${over} ${walk(node["condition"], at)} ${walk(node["result"], at)})`
      }
      case "repeat": {
        const variable = node["variable"] === null ? [] : [identName(node["variable"])]
        return `(repeat ${walk(node["count"], names)} ${walk(node["body"], bind(names, variable, false))})`
      }
      case "pipe": return pipe(node, names)
      case "fn": case "forward": case "definition": case "optimizer": case "curriculum": case "encoding": case "format":
        return definition(kind, node, names)
      default: return null
    }
  }

  function pipe(node: Node, names: Names): string {
    const right = node["right"] as Node
    const first = { name: null, value: node["left"] }
    const call = right["kind"] === "call" ? { kind: "call", callee: right["callee"], args: [first, ...(right["args"] as readonly unknown[])] } : { kind: "call", callee: right, args: [first] }
    return walk(call, names)
  }

  /** Names of parameters and members are seen from outside, so they stay. */
  function definition(kind: string, node: Node, names: Names): string {
    const own: string[] = []
    for (const list of ["params", "members", "states"]) {
      for (const entry of (node[list] as readonly Node[] | undefined) ?? []) if (entry["name"] !== undefined) own.push(identName(entry["name"]))
    }
    const at = bind(names, own, true)
    const keys = Object.keys(node).filter((k) => k !== "kind" && k !== "name" && !skipped.has(k)).sort()
    const parts = keys.map((k) => {
      const child = node[k]
      if ((k === "update" || k === "encode" || k === "decode") && child !== null) return ` ${k}=${handler(child as Node, at)}`
      return ` ${k}=${walk(child, at)}`
    })
    return `(${kind}${parts.join("")})`
  }

  /** `update`, `encode`, `decode`: called by position. */
  function handler(node: Node, names: Names): string {
    const params = (node["params"] as readonly Node[]).map((p) => identName(p["name"]))
    return `(${params.length} ${walk(node["body"], bind(names, params, false))})`
  }

  return { text: walk(root, new Map()), free }
}

function isIdent(node: Node): boolean {
  return typeof node["name"] === "string" && Object.keys(node).every((k) => k === "name" || k === "span")
}

function identName(value: unknown): string {
  return typeof value === "object" && value !== null && "name" in value && typeof value.name === "string" ? value.name : ""
}

function identNames(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(identName) : []
}

/** The name of a field or of a named argument. */
function fieldName(value: unknown): string | null {
  if (typeof value !== "object" || value === null || !("value" in value) || "kind" in value) return null
  return "name" in value && value.name !== null ? identName(value.name) : null
}
