import type { Expr, Module, TypeExpr } from "./ast.ts"

/**
 * The tree as a short text with every group in brackets, for tests: `(+ a (* b c))`. It shows what the printer hides,
 * where parentheses would be.
 */
export function shapeOf(e: Expr): string {
  switch (e.kind) {
    case "number": return `${e.value}${e.integer ? "" : "."}${e.unit === null ? "" : `:${e.unit}`}`
    case "string": return `"${e.parts.map((p) => (typeof p === "string" ? p : `<${shapeOf(p)}>`)).join("")}"`
    case "bool": return String(e.value)
    case "none": return "none"
    case "name": return e.name
    case "wildcard": return "*"
    case "missing": return "?"
    case "list": return `[${e.items.map(shapeOf).join(" ")}]`
    case "record": return `{${fields(e.fields)}}`
    case "block": return `{${e.lets.map((l) => `${l.name.name}=${shapeOf(l.value)}; `).join("")}${shapeOf(e.result)}}`
    case "call": return `(call ${[shapeOf(e.callee), ...e.args.map((a) => (a.name === null ? "" : `${a.name.name}:`) + shapeOf(a.value))].join(" ")})`
    case "field": return `(. ${shapeOf(e.object)} ${e.name.name})`
    case "index": return `([] ${shapeOf(e.object)} ${shapeOf(e.index)})`
    case "select": return `(.{} ${shapeOf(e.object)} ${e.names.map((n) => n.name).join(" ")})`
    case "unary": return `(${e.op} ${shapeOf(e.operand)})`
    case "binary": return `(${e.op} ${shapeOf(e.left)} ${shapeOf(e.right)})`
    case "range": return `(.. ${shapeOf(e.from)} ${shapeOf(e.to)})`
    case "pipe": return `(|> ${shapeOf(e.left)} ${shapeOf(e.right)})`
    case "with": return `(with ${shapeOf(e.base)} {${[fields(e.fields), ...e.ats.map((a) => `at ${shapeOf(a.address)}:${shapeOf(a.value)}`)].filter((x) => x !== "").join(" ")}})`
    case "if": return `(if ${shapeOf(e.condition)} ${shapeOf(e.then)} ${shapeOf(e.else)})`
    case "lambda": return `(=> [${e.params.map((p) => p.name).join(" ")}] ${shapeOf(e.body)})`
    case "comprehension": return `(for ${e.variable.name} ${shapeOf(e.over)} ${e.condition === null ? "" : `${shapeOf(e.condition)} `}${shapeOf(e.result)})`
    case "repeat": return `(repeat ${shapeOf(e.count)} ${e.variable === null ? "" : `${e.variable.name} `}${shapeOf(e.body)})`
    case "stage": return `(${e.verb}${e.subject === null ? "" : ` ${shapeOf(e.subject)}`}${e.into === null ? "" : ` into ${shapeOf(e.into)}`} {${fields(e.fields)}})`
  }
}

function fields(list: readonly { readonly name: { readonly name: string }; readonly value: Expr }[]): string {
  return list.map((f) => `${f.name.name}:${shapeOf(f.value)}`).join(" ")
}

export function shapeOfType(type: TypeExpr): string {
  switch (type.kind) {
    case "named": return type.name + (type.dims === null ? "" : `[${type.dims.map(shapeOf).join(" ")}]`)
    case "tensor": return `(${type.dtype}${type.of === null ? "" : ` of ${shapeOf(type.of)}`} [${type.dims.map(shapeOf).join(" ")}])`
    case "optional": return `(? ${shapeOfType(type.of)})`
    case "list": return `(list ${shapeOfType(type.of)})`
    case "record": return `{${type.fields.map((f) => `${f.name.name}:${shapeOfType(f.type)}`).join(" ")}}`
    case "function": return `(-> [${type.params.map(shapeOfType).join(" ")}] ${shapeOfType(type.returns)})`
    case "oneof": return `(| ${type.names.map((n) => n.name).join(" ")})`
  }
}

/** One line for each item: what it is and what it is called. */
export function outline(module: Module): readonly string[] {
  return module.items.map((item) => {
    if (item.kind === "use") return `use ${item.module} ${item.names.map((n) => n.name.name + (n.as === null ? "" : `>${n.as.name}`)).join(" ")}`
    if (item.kind === "carried") return `module ${item.module} ${shapeOf(item.text)}`
    if (item.kind === "lock") return `lock ${shapeOf(item.text)}`
    if (item.kind === "expect") return `expect ${shapeOf(item.condition)}`
    if (item.kind === "export") return `export ${shapeOf(item.subject)}`
    return `${item.kind} ${item.name.name}`
  })
}
