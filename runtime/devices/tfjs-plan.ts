/**
 * A lowered graph as a list of calls with the tensors they read and write. Values that need no input are computed at
 * once and kept; values of states that the program never changes are kept until such a state is written.
 */
import type { Body, Node, NodeOf, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { reachable } from "../../compiler/graph/walk.ts"
import type { Kernels, Tensor } from "./tfjs-backend.ts"
import type { Emitted, Loading, LoweredOp, Operand, Rule, Rules } from "./tfjs-rule.ts"
import { sameShape, tensor } from "./tfjs-rule.ts"

/** The rules of a backend. */
export interface Dialect {
  readonly rules: Rules
  /** Repeats a lazy operand to its full shape. */
  repeated(k: Loading, from: Operand, to: Shape): Emitted
}

/** How often a value is computed: once, after a write to a constant state, in every step. */
type Phase = 0 | 1 | 2

interface Call {
  readonly node: Node
  readonly phase: Phase
  readonly from: readonly number[]
  readonly to: readonly number[]
  readonly run: (inputs: readonly Tensor[]) => readonly Tensor[]
}

/** A slot is a place for one tensor. */
interface Slot {
  readonly shape: Shape
  readonly dtype: Operand["dtype"]
  readonly fill: number | null
  readonly phase: Phase
}

export interface Plan {
  /** The slot of each input, in the order given. */
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
  readonly slots: readonly Slot[]
  /** The calls of each phase in order, each with the slots that nobody reads afterwards. */
  readonly phases: readonly (readonly Step[])[]
}
export interface Step extends Call {
  readonly drop: readonly number[]
}

/** Bigger values are not kept between steps only because they could be. */
const largestKept = 1 << 20

interface Compiler {
  readonly k: Loading
  readonly dialect: Dialect
  readonly slots: Slot[]
  readonly calls: Call[]
  readonly slotOf: Map<Node, number>
  readonly wholeOf: Map<Node, number>
  readonly loops: Map<string, readonly number[]>
  readonly bodies: Map<Body, number>
}

function slotAt(c: Compiler, i: number): Slot {
  const slot = c.slots[i]
  if (slot === undefined) throw new Error(`tfjs: no slot ${i}`)
  return slot
}

function operandAt(c: Compiler, i: number): Operand {
  const { shape, dtype, fill, phase } = slotAt(c, i)
  return { shape, dtype, fill, steady: phase < 2 }
}

function placeOf(places: ReadonlyMap<Node, number>, node: Node): number {
  const place = places.get(node)
  if (place === undefined) throw new Error(`tfjs: %${node.id} (${node.op}) has no slot`)
  return place
}

function phaseOf(c: Compiler, from: readonly number[], shape: Shape): Phase {
  const latest = from.reduce<Phase>((phase, i) => Math.max(phase, slotAt(c, i).phase) as Phase, 0)
  return latest === 0 && from.length > 0 && size(shape) > largestKept ? 2 : latest
}

function emit(c: Compiler, node: Node, from: readonly number[], made: Emitted): number {
  const phase = phaseOf(c, from, made.shape)
  c.slots.push({ shape: made.shape, dtype: node.dtype, fill: made.fill ?? null, phase })
  const to = [c.slots.length - 1]
  c.calls.push({ node, phase, from, to, run: (xs) => [made.run(xs)] })
  return c.slots.length - 1
}

/** The slot of a node with all its elements there. */
function whole(c: Compiler, node: Node): number {
  const slot = placeOf(c.slotOf, node)
  const from = operandAt(c, slot)
  if (sameShape(from.shape, node.shape)) return slot
  const known = c.wholeOf.get(node)
  if (known !== undefined) return known
  const made = emit(c, node, [slot], c.dialect.repeated(c.k, from, node.shape))
  c.wholeOf.set(node, made)
  return made
}

function applyRule<O extends LoweredOp>(c: Compiler, node: NodeOf<O>, slots: readonly number[]): Emitted | null {
  const rule: Rule<O> = c.dialect.rules[node.op]
  return rule(c.k, node, slots.map((i) => operandAt(c, i)))
}

function isLowered(c: Compiler, node: Node): node is Node & NodeOf<LoweredOp> {
  return Object.hasOwn(c.dialect.rules, node.op)
}

function compileNode(c: Compiler, node: Node): number {
  if (node.op === "scan") return compileLoop(c, node)
  if (!isLowered(c, node)) throw new Error(`tfjs: lowering left the op ${node.op} (%${node.id})`)
  const lazy = node.inputs.map((x) => placeOf(c.slotOf, x))
  const made = applyRule(c, node, lazy)
  if (made !== null) return emit(c, node, lazy, made)
  const full = node.inputs.map((x) => whole(c, x))
  const second = applyRule(c, node, full)
  if (second === null) throw new Error(`tfjs: no rule for ${node.op} (%${node.id}) of ${node.dtype}[${node.shape.join(", ")}]`)
  return emit(c, node, full, second)
}

/** All results of a loop come from one call, whichever nodes ask for them. */
function compileLoop(c: Compiler, node: NodeOf<"scan">): number {
  const { body, output } = node.args
  const number = c.bodies.get(body) ?? c.bodies.size
  c.bodies.set(body, number)
  const key = `${number}|${node.inputs.map((x) => x.id).join()}`
  const to = c.loops.get(key) ?? emitLoop(c, node)
  c.loops.set(key, to)
  const slot = to[output]
  if (slot === undefined) throw new Error(`tfjs: scan has no output ${output}`)
  return slot
}

function emitLoop(c: Compiler, node: NodeOf<"scan">): readonly number[] {
  const { body, carries, trips } = node.args
  const from = node.inputs.map((x) => whole(c, x))
  const inner = compile(c.k, c.dialect, body.inputs.map((x) => ({ node: x as NodeOf<"input">, constant: false })), body.outputs)
  const memory = createMemory(c.k, inner)
  c.k.atEnd(memory.dispose)
  const to = body.outputs.map((x, i) => {
    c.slots.push({ shape: i < carries ? x.shape : [trips, ...x.shape], dtype: x.dtype, fill: null, phase: 2 })
    return c.slots.length - 1
  })
  c.calls.push({ node, phase: 2, from, to, run: loop(c.k, node, memory) })
  return to
}

function loop(k: Loading, node: NodeOf<"scan">, memory: Memory): Call["run"] {
  const { body, carries, trips } = node.args
  const [slice, concat] = [k.kernel("Slice"), k.kernel("Concat")]
  function element(x: Tensor, trip: number): Tensor {
    const row = slice({ x }, { begin: x.shape.map((_, i) => (i === 0 ? trip : 0)), size: [1, ...x.shape.slice(1)] })
    const view = k.view(row, row.shape.slice(1))
    k.drop(row)
    return view
  }
  function stacked(parts: readonly Tensor[]): Tensor {
    const rows = parts.map((x) => k.view(x, [1, ...x.shape]))
    const all = rows.length === 1 ? k.view(tensor(rows, 0), tensor(rows, 0).shape) : concat(rows, { axis: 0 })
    for (const x of [...parts, ...rows]) k.drop(x)
    return all
  }
  return (xs) => {
    let current = xs.slice(0, carries).map((x) => k.view(x, x.shape))
    const results: Tensor[][] = body.outputs.slice(carries).map(() => [])
    for (let trip = 0; trip < trips; trip++) {
      const out = memory.run([...current, ...xs.slice(carries).map((x) => element(x, trip))])
      current = out.slice(0, carries)
      out.slice(carries).forEach((x, i) => results[i]?.push(x))
    }
    return [...current, ...results.map(stacked)]
  }
}

/** An input of a plan; `constant`: it keeps its value for many steps. */
export interface PlanInput {
  readonly node: NodeOf<"input">
  readonly constant: boolean
}

export function compile(k: Loading, dialect: Dialect, inputs: readonly PlanInput[], outputs: readonly Node[]): Plan {
  const c: Compiler = { k, dialect, slots: [], calls: [], slotOf: new Map(), wholeOf: new Map(), loops: new Map(), bodies: new Map() }
  const places = inputs.map(({ node, constant }) => {
    c.slots.push({ shape: node.shape, dtype: node.dtype, fill: null, phase: constant ? 1 : 2 })
    c.slotOf.set(node, c.slots.length - 1)
    return c.slots.length - 1
  })
  for (const node of reachable(outputs)) if (!c.slotOf.has(node)) c.slotOf.set(node, compileNode(c, node))
  const results = outputs.map((node) => whole(c, node))
  return { inputs: places, outputs: results, slots: c.slots, phases: ([0, 1, 2] as const).map((phase) => stepsOf(c, phase, places, results)) }
}

/** The calls of one phase; a slot that is read in a later phase, or is an input kept between steps, is not dropped. */
function stepsOf(c: Compiler, phase: Phase, inputs: readonly number[], outputs: readonly number[]): Step[] {
  const calls = c.calls.filter((call) => call.phase === phase)
  const kept = new Set([...c.calls.filter((call) => call.phase > phase).flatMap((call) => call.from), ...outputs])
  const last = new Map<number, number>()
  calls.forEach((call, i) => [...call.to, ...call.from].forEach((slot) => last.set(slot, i)))
  const drops = calls.map((): number[] => [])
  for (const [slot, i] of last) {
    const owned = slotAt(c, slot).phase === phase && !(phase === 1 && inputs.includes(slot))
    if (owned && !kept.has(slot)) drops[i]?.push(slot)
  }
  return calls.map((call, i) => ({ ...call, drop: drops[i] ?? [] }))
}

/** The tensors of a plan between and during steps. */
export interface Memory {
  /** Takes over the inputs and gives away the outputs. Constant inputs are passed as null once they have been set. */
  run(inputs: readonly (Tensor | null)[]): Tensor[]
  /** Replaces a constant input. */
  set(input: number, x: Tensor): void
  get(input: number): Tensor | null
  dispose(): void
}

export function createMemory(k: Kernels, plan: Plan, watch: (call: Step, run: () => readonly Tensor[]) => readonly Tensor[] = (_, run) => run()): Memory {
  const at: (Tensor | null)[] = plan.slots.map(() => null)
  let stale = true
  function drop(slot: number): void {
    const x = at[slot]
    if (x) k.drop(x)
    at[slot] = null
  }
  function read(slot: number): Tensor {
    const x = at[slot]
    if (!x) throw new Error(`tfjs: slot ${slot} is empty`)
    return x
  }
  function runPhase(phase: Phase): void {
    for (const call of plan.phases[phase] ?? []) {
      const xs = call.from.map(read)
      const made = watch(call, () => call.run(xs))
      call.to.forEach((slot, i) => { at[slot] = made[i] ?? null })
      call.drop.forEach(drop)
    }
  }
  function dropPhase(phase: Phase): void {
    for (const call of plan.phases[phase] ?? []) call.to.forEach(drop)
  }
  runPhase(0)
  return {
    run(inputs) {
      inputs.forEach((x, i) => { if (x !== null) at[plan.inputs[i] ?? -1] = x })
      if (stale) {
        dropPhase(1)
        runPhase(1)
        stale = false
      }
      runPhase(2)
      const outputs = plan.outputs.map((slot) => k.view(read(slot), read(slot).shape))
      dropPhase(2)
      plan.inputs.forEach((slot, i) => { if (inputs[i] !== null) drop(slot) })
      return outputs
    },
    set(input, x) {
      const slot = plan.inputs[input] ?? -1
      drop(slot)
      at[slot] = x
      stale = true
    },
    get: (input) => at[plan.inputs[input] ?? -1] ?? null,
    dispose() {
      at.forEach((_, slot) => drop(slot))
    },
  }
}
