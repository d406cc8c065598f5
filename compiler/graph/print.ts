import type { Body, Node, Program } from "./node.ts"
import { reachable } from "./walk.ts"

/**
 * A program as readable text, one node a line, numbered by order, so that equal programs give equal text:
 *
 *     %12 = dot(%3, %7) {tb} : f32[1536, 128]  // blocks[0].attn.q
 */
export function printProgram(program: Program): string {
  const lines = [`program ${program.name}`]
  const bodies: Body[] = []
  const outputs = program.outputs.map((output) => output.node)
  const numbers = numbering([...program.inputs, ...outputs])
  lines.push(...printNodes(numbers, bodies))
  for (const { name, node } of program.outputs) lines.push(`  ${name} = ${reference(numbers, node)}`)
  // Bodies may hold further loops, which are found while these are printed.
  for (let i = 0; i < bodies.length; i++) lines.push(...printBody(bodies[i], i, bodies))
  return `${lines.join("\n")}\n`
}

/** Some nodes and what they need, as `printProgram` shows them. */
export function printNodes(numbers: ReadonlyMap<Node, number>, bodies: Body[]): string[] {
  return [...numbers.keys()].map((node) => {
    const inputs = node.inputs.map((x) => reference(numbers, x)).join(", ")
    const args = printArgs(node, bodies)
    const note = node.note ? `  // ${node.note}` : ""
    return `  ${reference(numbers, node)} = ${node.op}${inputs ? `(${inputs})` : ""}${args ? ` {${args}}` : ""} : ${printType(node)}${note}`
  })
}

/** `f32[12, 64]` */
export function printType(type: { readonly dtype: string; readonly shape: readonly number[] }): string {
  return `${type.dtype}[${type.shape.join(", ")}]`
}

function numbering(roots: readonly Node[]): Map<Node, number> {
  return new Map(reachable(roots).map((node, i) => [node, i]))
}

function reference(numbers: ReadonlyMap<Node, number>, node: Node): string {
  return `%${numbers.get(node) ?? "?"}`
}

function printBody(body: Body | undefined, number: number, bodies: Body[]): string[] {
  if (body === undefined) return []
  const numbers = numbering([...body.inputs, ...body.outputs])
  return [`body ${number}`, ...printNodes(numbers, bodies), `  return ${body.outputs.map((node) => reference(numbers, node)).join(", ")}`]
}

/** Arguments that the type does not tell already; flags that are off and absent windows are left out. */
function printArgs(node: Node, bodies: Body[]): string {
  const shown: string[] = []
  for (const [name, value] of Object.entries(node.args)) {
    if (name === "shape" || (name === "dtype" && node.op !== "cast") || value === false || value === null || value === "f32") continue
    if (value === true) shown.push(name)
    else if (name === "body") shown.push(`body ${bodyNumber(value as Body, bodies)}`)
    else shown.push(`${name}: ${printValue(value)}`)
  }
  return shown.join(", ")
}

function bodyNumber(body: Body, bodies: Body[]): number {
  if (!bodies.includes(body)) bodies.push(body)
  return bodies.indexOf(body)
}

function printValue(value: unknown): string {
  if (!Array.isArray(value)) return String(value)
  return value.length > 8 ? `[${value.slice(0, 8).join(", ")}, … ${value.length}]` : `[${value.join(", ")}]`
}
