import type { Args, Body, DType, InputRole, Node, NodeOf, Op, Shape } from "./node.ts"
import { reachable } from "./walk.ts"
import type { StorageType } from "./stored.ts"
import type { ShapeRule } from "./shapes.ts"
import { shapeRules } from "./shapes.ts"

/**
 * Makes the nodes of one graph. Equal op, arguments and inputs give the same node, so common subexpressions are
 * shared as they are made. Nodes of different builders do not mix.
 */
export interface Builder {
  /** A verified, frozen node. `note` defaults to the scope of `at`; a shared node keeps its first note. */
  make<O extends Op>(op: O, args: Args[O], inputs: readonly Node[], note?: string): NodeOf<O>
  /** Runs `body` with `note` (a path or a recipe line) for every node made in it; the innermost scope wins. */
  at<T>(note: string, body: () => T): T
  input(name: string, role: InputRole, dtype: DType, shape: Shape, stored?: StorageType): NodeOf<"input">
  /** Everything made so far, in order of id. */
  readonly nodes: readonly Node[]
}

/** A number as part of a key: zero keeps its sign. */
function numberKey(x: number): string {
  return Object.is(x, -0) ? "-0" : String(x)
}

type KeyOf = (body: Body) => string | number

function valueKey(value: unknown, keyOf: KeyOf): string {
  if (typeof value === "number") return numberKey(value)
  if (Array.isArray(value)) return value.includes(0) ? value.map(numberKey).join() : value.join()
  return value !== null && typeof value === "object" ? `body ${keyOf(value as Body)}` : String(value)
}

function argsKey(args: object, keyOf: KeyOf): string {
  let key = ""
  for (const name of Object.keys(args).sort()) key += `${name}=${valueKey(args[name as keyof typeof args], keyOf)};`
  return key
}

/** Equal for bodies of equal meaning, whatever their nodes are numbered. */
export function bodyKey(body: Body): string {
  const order = reachable([...body.inputs, ...body.outputs])
  const numbers = new Map(order.map((node, i) => [node, i]))
  const places = (nodes: readonly Node[]): string => nodes.map((node) => numbers.get(node)).join()
  const lines = order.map((node) => `${node.op}|${argsKey(node.args, bodyKey)}|${places(node.inputs)}`)
  return `{${lines.join("\n")}|${places(body.inputs)}>${places(body.outputs)}}`
}

function freezeArgs<A extends object>(args: A): A {
  for (const value of Object.values(args)) if (Array.isArray(value)) Object.freeze(value)
  return Object.freeze(args)
}

export function createBuilder(): Builder {
  const nodes: Node[] = []
  const known = new Map<string, Node>()
  const names = new Map<string, Node>()
  const bodies = new Map<string, Body>()
  const bodyNumbers = new Map<Body, number>()
  let scope = ""

  /** Loops of equal meaning get one body, so that their outputs are known to come from the same loop. */
  function shared(body: Body): Body {
    if (bodyNumbers.has(body)) return body
    const key = bodyKey(body)
    const same = bodies.get(key)
    if (same !== undefined) return same
    bodies.set(key, body)
    bodyNumbers.set(body, bodyNumbers.size)
    return body
  }

  function settled<O extends Op>(args: Args[O]): Args[O] {
    return "body" in args ? { ...args, body: shared(args.body) } : args
  }

  function verify<O extends Op>(op: O, args: Args[O], inputs: readonly Node[], note: string): { shape: Shape; dtype: DType } {
    try {
      for (const input of inputs) if (nodes[input.id] !== input) throw new Error(`input %${input.id} is of another graph`)
      const rule: ShapeRule<O> = shapeRules[op]
      return rule(args, inputs)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new Error(`graph: ${op}${note ? ` at ${note}` : ""}: ${reason}`)
    }
  }

  function make<O extends Op>(op: O, given: Args[O], inputs: readonly Node[], note = scope): NodeOf<O> {
    const args = settled(given)
    const key = `${op}|${argsKey(args, (body) => bodyNumbers.get(body) ?? -1)}|${inputs.map((node) => node.id).join()}`
    const same = known.get(key)
    if (same !== undefined) return same as NodeOf<O>
    const { shape, dtype } = verify(op, args, inputs, note)
    const node: NodeOf<O> = Object.freeze({
      id: nodes.length, op, args: freezeArgs(args), inputs: Object.freeze([...inputs]), shape: Object.freeze([...shape]), dtype, note,
    })
    known.set(key, node as Node)
    nodes.push(node as Node)
    return node
  }

  return {
    make,
    nodes,
    at(note, body) {
      const outer = scope
      scope = note
      try {
        return body()
      } finally {
        scope = outer
      }
    },
    input(name, role, dtype, shape, stored) {
      const node = make("input", { name, role, shape, dtype, ...(stored === undefined ? {} : { stored }) }, [])
      if ((names.get(name) ?? node) !== node) throw new Error(`graph: input ${name} is declared twice with different types`)
      names.set(name, node)
      return node
    },
  }
}
