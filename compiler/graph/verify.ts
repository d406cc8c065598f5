import type { Node, NodeOf, Op, Program } from "./node.ts"
import type { ShapeRule } from "./shapes.ts"
import { shapeRules } from "./shapes.ts"
import type { StorageType } from "./stored.ts"
import { reachable } from "./walk.ts"

/**
 * What is wrong with a program, in words; empty if nothing. `phase` names who made it. Checked: inputs come before their users,
 * ids are unique, shapes and dtypes are what the rules say, every input is declared, names are unique, a new state has its type.
 */
export function problems(program: Program): string[] {
  const order = reachable(program.outputs.map((output) => output.node))
  return [...nodeProblems(order), ...inputProblems(program, order), ...outputProblems(program)]
}

/** Throws where a program is not well formed: a bug of the phase that made it. */
export function verify(program: Program, phase: string): Program {
  const found = problems(program)
  if (found.length > 0) throw new Error(`${phase}: program ${program.name} is not well formed:\n  ${found.slice(0, 8).join("\n  ")}`)
  return program
}

function describe(node: Node): string {
  return `%${node.id} ${node.op}${node.note ? ` at ${node.note}` : ""}`
}

function nodeProblems(order: readonly Node[]): string[] {
  const found: string[] = []
  let before: Node | undefined
  for (const node of order) {
    if (before?.id === node.id) found.push(`${describe(node)} and ${describe(before)} have one id`)
    before = node
    for (const input of node.inputs) if (input.id >= node.id) found.push(`${describe(node)} uses the later ${describe(input)}`)
    const wrong = typeProblem(node)
    if (wrong !== null) found.push(`${describe(node)}: ${wrong}`)
    if (node.op === "scan") found.push(...nodeProblems(reachable(node.args.body.outputs)).map((inner) => `${describe(node)}: in the body: ${inner}`), ...strayInputs(node))
  }
  return found
}

function typeProblem<O extends Op>(node: NodeOf<O>): string | null {
  const rule: ShapeRule<O> = shapeRules[node.op]
  try {
    const { shape, dtype } = rule(node.args, node.inputs)
    const same = dtype === node.dtype && shape.join() === node.shape.join()
    return same ? null : `is ${node.dtype}[${node.shape.join(", ")}] but should be ${dtype}[${shape.join(", ")}]`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Inputs that the body uses without declaring them. */
function strayInputs(node: NodeOf<"scan">): string[] {
  const declared = new Set(node.args.body.inputs)
  return reachable(node.args.body.outputs).filter((inner) => inner.op === "input" && !declared.has(inner)).map((inner) => `%${node.id} scan: the body uses ${describe(inner)}, which it does not declare`)
}

function inputProblems(program: Program, order: readonly Node[]): string[] {
  const declared = new Set<Node>(program.inputs)
  const names = program.inputs.map((node) => node.args.name)
  return [
    ...order.filter((node) => node.op === "input" && !declared.has(node)).map((node) => `${describe(node)} is not declared`),
    ...repeated(names).map((name) => `two inputs are called ${name}`),
  ]
}

function outputProblems(program: Program): string[] {
  const states = new Map(program.inputs.map((node) => [node.args.name, node]))
  const found = repeated(program.outputs.map((output) => output.name)).map((name) => `two outputs are called ${name}`)
  for (const { name, node } of program.outputs) {
    const state = states.get(name)
    if (state === undefined) continue
    if (state.args.stored !== undefined && !staysExact(node, state.args.stored)) found.push(`state ${name} is stored as ${state.args.stored} and becomes numbers that may be others`)
    else if (state.args.role === "batch") found.push(`output ${name} has the name of a batch input`)
    else if (state.dtype !== node.dtype || state.shape.join() !== node.shape.join()) {
      found.push(`state ${name} is ${state.dtype}[${state.shape.join(", ")}] but becomes ${node.dtype}[${node.shape.join(", ")}]`)
    }
  }
  return found
}

/** Whether numbers of the storage type are all that can come out. */
function staysExact(node: Node, stored: StorageType): boolean {
  let base = node
  while (base.op === "put" && base.args.format === stored && base.inputs[0] !== undefined) base = base.inputs[0]
  return base.op === "input" && base.args.stored === stored
}

function repeated(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))]
}
