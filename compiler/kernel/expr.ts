/** Makes expressions, each once: equal ones are one object, so that identity is equality within a builder. */
import type { DType } from "../graph/node.ts"
import type { Guard, Index, Variable } from "./index.ts"
import { alwaysHolds, atomsOf, indexKey } from "./index.ts"
import type { BinaryOp, Buffer, Combine, Expr, UnaryOp } from "./ir.ts"

export interface ExprBuilder {
  load(buffer: Buffer, index: Index, guards: readonly Guard[]): Expr
  constant(value: number, dtype: DType): Expr
  index(index: Index): Expr
  unary(op: UnaryOp, x: Expr): Expr
  binary(op: BinaryOp, x: Expr, y: Expr): Expr
  select(condition: Expr, yes: Expr, no: Expr): Expr
  cast(x: Expr, dtype: DType): Expr
  guarded(guards: readonly Guard[], yes: Expr, no: Expr): Expr
  random(stream: number, seed: Expr, step: Expr, row: Expr, element: Index): Expr
  reduced(combine: Combine, value: Expr): Expr
  fold(combine: Combine, count: number, body: Expr): Expr
}

type Shape = Expr extends infer E ? (E extends Expr ? Omit<E, "id" | "depends" | "level"> : never) : never

const comparisons: ReadonlySet<BinaryOp> = new Set(["lt", "le", "eq", "and", "or"])

export function createExprBuilder(): ExprBuilder {
  const known = new Map<string, Expr>()

  function make(key: string, shape: Shape, parts: readonly Expr[], places: readonly Index[]): Expr {
    const same = known.get(key)
    if (same !== undefined) return same
    const depends = new Set<Variable>()
    let level = 0
    const absorb = (x: Expr): void => {
      level = Math.max(level, x.level)
      for (const name of x.depends) depends.add(name)
    }
    parts.forEach(absorb)
    for (const place of places) for (const atom of atomsOf(place)) {
      if (atom.is === "var") depends.add(atom.name)
      else if (atom.is === "value") absorb(atom.expr)
    }
    if (shape.is === "reduced") {
      level += 1
      depends.delete("j")
    }
    if (shape.is === "fold") depends.delete("k")
    const expr = { ...shape, id: known.size, depends, level } as Expr
    known.set(key, expr)
    return expr
  }

  const guardsKey = (guards: readonly Guard[]): string => guards.map((g) => `${g.low}<=${indexKey(g.index)}<${g.high}`).join("&")

  return {
    load(buffer, index, given) {
      const guards = given.filter((guard) => !alwaysHolds(guard))
      return make(`load ${buffer.id} ${indexKey(index)} ${guardsKey(guards)}`, { is: "load", dtype: buffer.dtype, buffer, index, guards }, [], [index, ...guards.map((g) => g.index)])
    },
    constant: (value, dtype) => make(`const ${Object.is(value, -0) ? "-0" : value} ${dtype}`, { is: "constant", dtype, value }, [], []),
    index: (index) => make(`index ${indexKey(index)}`, { is: "index", dtype: "i32", index }, [], [index]),
    unary: (op, x) => make(`${op} ${x.id}`, { is: "unary", dtype: x.dtype, op, x }, [x], []),
    binary: (op, x, y) => make(`${op} ${x.id} ${y.id}`, { is: "binary", dtype: comparisons.has(op) ? "bool" : x.dtype, op, x, y }, [x, y], []),
    select: (condition, yes, no) => make(`select ${condition.id} ${yes.id} ${no.id}`, { is: "select", dtype: yes.dtype, condition, yes, no }, [condition, yes, no], []),
    cast: (x, dtype) => (x.dtype === dtype ? x : make(`cast ${dtype} ${x.id}`, { is: "cast", dtype, x }, [x], [])),
    guarded(given, yes, no) {
      const guards = given.filter((guard) => !alwaysHolds(guard))
      if (guards.length === 0) return yes
      return make(`guarded ${guardsKey(guards)} ${yes.id} ${no.id}`, { is: "guarded", dtype: yes.dtype, guards, yes, no }, [yes, no], guards.map((g) => g.index))
    },
    random: (stream, seed, step, row, element) =>
      make(`random ${stream} ${seed.id} ${step.id} ${row.id} ${indexKey(element)}`, { is: "random", dtype: "f32", stream, seed, step, row, element }, [seed, step, row], [element]),
    reduced: (combine, value) => make(`reduced ${combine} ${value.id}`, { is: "reduced", dtype: value.dtype, combine, value }, [value], []),
    fold: (combine, count, body) => make(`fold ${combine} ${count} ${body.id}`, { is: "fold", dtype: body.dtype, combine, count, body }, [body], []),
  }
}

/** Expressions directly inside of one, those that places depend on included. */
export function partsOf(x: Expr): readonly Expr[] {
  const inside = (index: Index): Expr[] => atomsOf(index).flatMap((atom) => (atom.is === "value" ? [atom.expr] : []))
  const guarding = (guards: readonly Guard[]): Expr[] => guards.flatMap((g) => inside(g.index))
  switch (x.is) {
    case "load": return [...inside(x.index), ...guarding(x.guards)]
    case "constant": return []
    case "index": return inside(x.index)
    case "unary": case "cast": return [x.x]
    case "binary": return [x.x, x.y]
    case "select": return [x.condition, x.yes, x.no]
    case "guarded": return [x.yes, x.no, ...guarding(x.guards)]
    case "random": return [x.seed, x.step, x.row, ...inside(x.element)]
    case "reduced": return [x.value]
    case "fold": return [x.body]
  }
}

/** All expressions that `roots` are made of, parts before wholes. */
export function exprsIn(roots: readonly Expr[]): readonly Expr[] {
  return collect(roots, partsOf)
}

/** Those that are computed in the same pass over the columns: what earlier passes reduced is known by then. */
export function exprsOfPass(roots: readonly Expr[]): readonly Expr[] {
  return collect(roots, (x) => (x.is === "reduced" ? [] : partsOf(x)))
}

function collect(roots: readonly Expr[], next: (x: Expr) => readonly Expr[]): readonly Expr[] {
  const seen = new Set<Expr>(roots)
  const pending = [...roots]
  for (let x = pending.pop(); x !== undefined; x = pending.pop()) {
    for (const part of next(x)) if (!seen.has(part)) { seen.add(part); pending.push(part) }
  }
  return [...seen].sort((p, q) => p.id - q.id)
}
