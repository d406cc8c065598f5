/** Evaluation on the host: the functions of a recipe over tensors that have their numbers. */
import type { Machine } from "../../check/machine.ts"
import { createMachine } from "../../check/machine.ts"
import type { Session } from "../../check/session.ts"
import type { Value, WeightInfo } from "../../check/value.ts"
import { limits } from "../../check/session.ts"
import type { Host } from "../host.ts"
import { createHost } from "../host.ts"
import type { Node, Shape } from "../node.ts"
import { size } from "../node.ts"
import type { Precision, Value as HostValue } from "../value.ts"
import { allocate } from "../value.ts"
import { nodeOf, stateName, tensorOf } from "./context.ts"
import { weightShape } from "./initial.ts"

export interface HostLowering {
  readonly machine: Machine
  /** A tensor of given numbers. */
  tensor(name: string, shape: Shape, numbers: () => Float32Array): Value
  /** The numbers of a value, rounded to f32. */
  numbers(value: Value): { readonly shape: Shape; readonly data: Float32Array }
  value(value: Value): HostValue
  /** Runs a rule with a bound of its own on what it evaluates. */
  bounded<T>(body: () => T): T
}

/** Expressions that one rule on one weight may evaluate. */
const stepsOfRule = 4 * limits.steps

/** `weight`: the numbers of a weight of a role that a rule asks for. */
export function createHostLowering(session: Session, weight: (role: string, info: WeightInfo) => Float32Array, precision: Precision = "f64"): HostLowering {
  const host = createHost(precision)
  const zero = (name: string): Node => host.constant(name, { shape: [], dtype: "i32" }, () => ({ shape: [], dtype: "i32", data: new Int32Array(1) }))
  const tensor = (name: string, shape: Shape, numbers: () => Float32Array): Node => host.constant(name, { shape, dtype: "f32" }, () => widened(host, shape, numbers()))
  const machine = createMachine(session, {
    builder: host.builder, host, training: false, seed: zero("seed"), step: zero("step"), rows: null,
    weight: (role, info) => tensor(stateName(role, info.path), weightShape(info, session.environment.facts), () => weight(role, info)),
  })
  return {
    machine,
    tensor: (name, shape, numbers) => tensorOf(tensor(name, shape, numbers)),
    value: (value) => host.valueOf(nodeOf(value, machine)),
    numbers(value) {
      const { shape, data } = host.valueOf(nodeOf(value, machine))
      return { shape, data: Float32Array.from(data) }
    },
    bounded: (body) => bounded(session, body),
  }
}

/** Runs a rule with a bound of its own on what it evaluates. */
export function bounded<T>(session: Session, body: () => T): T {
  const left = session.stepsLeft
  session.stepsLeft = stepsOfRule
  try {
    return body()
  } finally {
    session.stepsLeft = left
  }
}

function widened({ precision }: Host, shape: Shape, numbers: Float32Array): HostValue {
  const data = allocate("f32", size(shape), precision)
  data.set(numbers)
  return { shape, dtype: "f32", data }
}
