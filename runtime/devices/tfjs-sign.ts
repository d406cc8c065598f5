/** What the structure of a graph says about the sign of a value. */
import type { Node } from "../../compiler/graph/node.ts"

/** `up`: never below 0; `down`: never above 0; null: not known. NaN aside. */
export type Sign = "up" | "down" | null

/** Deep enough for the arguments of exponentials in softmaxes and derivatives. */
const depth = 8

export function signOf(node: Node, left = depth): Sign {
  if (left === 0) return null
  const of = (i: number): Sign => {
    const x = node.inputs[i]
    return x === undefined ? null : signOf(x, left - 1)
  }
  switch (node.op) {
    case "fill": return node.args.value >= 0 ? "up" : "down"
    case "abs": case "exp": case "sqrt": case "sigmoid": case "softmax": case "random": return "up"
    case "neg": return opposite(of(0))
    case "mul": return node.inputs[0] === node.inputs[1] ? "up" : product(of(0), of(1))
    case "add": case "max": case "min": return of(0) === of(1) ? of(0) : null
    case "sub": return belowMaximum(node) ? "down" : of(0) !== null && of(0) === opposite(of(1)) ? of(0) : null
    case "log": return sumFromOne(node) ? "up" : null
    case "broadcast": case "reshape": case "permute": case "stop_gradient": case "slice": case "sum": case "max_of": return of(0)
    default: return null
  }
}

function opposite(sign: Sign): Sign {
  return sign === null ? null : sign === "up" ? "down" : "up"
}

function product(x: Sign, y: Sign): Sign {
  return x === null || y === null ? null : x === y ? "up" : "down"
}

/** log of a sum of exponentials of which the largest is 1, as log_softmax has it. */
function sumFromOne(node: Node): boolean {
  let x = node.inputs[0]
  while (x?.op === "reshape") x = x.inputs[0]
  const terms = x?.op === "sum" ? x.inputs[0] : undefined
  const exponent = terms?.op === "exp" ? terms.inputs[0] : undefined
  return exponent?.op === "sub" && belowMaximum(exponent)
}

/** x - maximum of x, along some axes, as softmaxes have it. */
function belowMaximum(node: Node): boolean {
  let other = node.inputs[1]
  while (other?.op === "broadcast" || other?.op === "stop_gradient") other = other.inputs[0]
  return other?.op === "max_of" && other.inputs[0] === node.inputs[0]
}
