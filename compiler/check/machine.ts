/** The evaluator's view of where it is: the session, the path of the instance, the calls it is inside of. */
import type { Diagnostic, Span } from "../../grammar/diagnostic.ts"
import type { Stage } from "../plan/stage.ts"
import { applyValues } from "./calls.ts"
import { instantiate, weightsOf } from "./instance.ts"
import { error, float, int } from "./make.ts"
import { compare, known, symbol } from "./poly.ts"
import { relocate } from "./relocate.ts"
import type { Session } from "./session.ts"
import { registerStage } from "./stages.ts"
import type { Context, LoweringContext, Value } from "./value.ts"

export interface Machine extends Context {
  readonly session: Session
  readonly frames: Frame | null
  /** The run's number of steps, while an optimiser's update is evaluated. */
  readonly total: Value | null
}

/** A call under evaluation, innermost first. */
export interface Frame {
  readonly name: string
  readonly code: object
  readonly span: Span
  readonly args: ReadonlyMap<string, Value>
  readonly argSpans: ReadonlyMap<string, Span>
  readonly outer: Frame | null
  readonly depth: number
}

interface Place {
  readonly lowering: LoweringContext | null
  readonly path: string
  readonly frames: Frame | null
  readonly total: Value | null
}

export function createMachine(session: Session, lowering: LoweringContext | null = null): Machine {
  return make(session, { lowering, path: "", frames: null, total: null })
}

/** The same machine at another place. */
export function moved(m: Machine, changes: Partial<Place>): Machine {
  return make(m.session, { lowering: m.lowering, path: m.path, frames: m.frames, total: m.total, ...changes })
}

function make(session: Session, place: Place): Machine {
  const m: Machine = {
    ...place,
    session,
    report(d) {
      record(session, relocate(d, m))
      return error
    },
    known: (p) => known(p, session.environment.facts),
    compare: (a, b) => compare(a, b, session.environment.facts),
    apply: (callee, args, at) => applyValues(callee, args, at, m),
    stage: (kind, args, type, at) => registerStage(kind, args, type, at, m),
    metric(stage, field, at) {
      session.read.add(stage.key)
      const value = session.environment.facts.get(`${stage.key}.${field}`)
      return value === undefined ? float(null, at, [stage]) : float(value, at)
    },
    unknownInt(stage, field) {
      session.read.add(stage.key)
      const vocabulary = field === "size" && isTokenizer(stage)
      return int(symbol(`${stage.key}.${field}`, `${stage.name}.${field}`, { vocabulary, origin: stage.span }), stage.span)
    },
    instantiate: (spec, role, at) => instantiate(spec, role, at, m),
    weightsOf,
  }
  return m
}

function isTokenizer(stage: Stage): boolean {
  return stage.type.is === "tokenizer"
}

function record(session: Session, d: Diagnostic): void {
  const key = `${d.code} ${d.span.source} ${d.span.start}`
  if (session.reported.has(key)) return
  session.reported.add(key)
  session.diagnostics.push(d)
}
