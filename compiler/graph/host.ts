/**
 * A builder whose nodes have their numbers as soon as they are made: for rules on weights, which run once, on the host, in f64, and
 * whose loops would make graphs of millions of nodes. Nothing is shared or kept, so that what is no longer needed is freed.
 */
import type { Builder } from "./builder.ts"
import { createBuilder } from "./builder.ts"
import { isComposite } from "./composite.ts"
import type { Primitive } from "./composite.ts"
import { evaluate, interpretNode } from "./interpret.ts"
import type { Args, Node, NodeOf, Op } from "./node.ts"
import type { ShapeRule } from "./shapes.ts"
import { shapeRules } from "./shapes.ts"
import type { Precision, Value } from "./value.ts"

export interface Host {
  readonly builder: Builder
  readonly precision: Precision
  /** A node of given numbers, which are asked for when they are needed. */
  constant(name: string, like: Pick<Value, "shape" | "dtype">, value: () => Value): Node
  valueOf(node: Node): Value
}

export function createHost(precision: Precision): Host {
  const values = new WeakMap<Node, Value>()
  const later = new WeakMap<Node, () => Value>()
  let count = 0

  function valueOf(node: Node): Value {
    const found = values.get(node)
    if (found !== undefined) return found
    const value = later.get(node)?.()
    if (value === undefined) throw new Error(`host: %${node.id} (${node.op}) has no numbers`)
    values.set(node, value)
    return value
  }

  function node<O extends Op>(op: O, args: Args[O], inputs: readonly Node[]): NodeOf<O> {
    const rule: ShapeRule<O> = shapeRules[op]
    const { shape, dtype } = rule(args, inputs)
    return Object.freeze({ id: count++, op, args, inputs: [], shape, dtype, note: "" })
  }

  function make<O extends Op>(op: O, args: Args[O], inputs: readonly Node[]): NodeOf<O> {
    const made = node(op, args, inputs)
    const given = inputs.map(valueOf)
    values.set(made as Node, isComposite(op) ? composite(op, args, given, precision) : interpretNode(made as NodeOf<Primitive>, given, precision))
    return made
  }

  const constant: Host["constant"] = (name, { shape, dtype }, value) => {
    const made = node("input", { name, role: "batch", shape, dtype }, []) as Node
    later.set(made, value)
    return made
  }

  return {
    precision, constant, valueOf,
    builder: {
      make, nodes: [], at: (_, body) => body(),
      input(name) { throw new Error(`host: nothing is given for ${name}`) },
    },
  }
}

/** A composite op by its decomposition. */
function composite<O extends Op>(op: O, args: Args[O], given: readonly Value[], precision: Precision): Value {
  const b = createBuilder()
  const inputs = given.map((x, i) => b.input(`x${i}`, "batch", x.dtype, x.shape))
  const [value] = evaluate([b.make(op, args, inputs) as Node], Object.fromEntries(given.map((x, i) => [`x${i}`, x])), precision)
  if (value === undefined) throw new Error(`host: ${op} has no value`)
  return value
}
