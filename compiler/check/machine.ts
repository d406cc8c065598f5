/** The evaluator's view of where it is: the session, the path of the instance, the calls it is inside of. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Diagnostic, Span } from "../../grammar/diagnostic.ts"
import type { Stage } from "../plan/stage.ts"
import { applyValues } from "./calls.ts"
import { divergedAt } from "./choice.ts"
import { instantiate, weightsOf } from "./instance.ts"
import { error, float, int } from "./make.ts"
import type { Poly } from "./poly.ts"
import { compare, known, symbol } from "./poly.ts"
import { relocate } from "./relocate.ts"
import type { Session } from "./session.ts"
import { registerStage } from "./stages.ts"
import type {
  ArtifactType, ArtifactValue, ErrorValue, FloatValue, InstanceValue, IntValue, LoweringContext, SpecValue, Value, WeightInfo,
} from "./value.ts"

/** What evaluation, and the primitives, may use. */
export interface Machine {
  readonly session: Session
  readonly lowering: LoweringContext | null
  /** The path of the instance whose forward is being evaluated (`model.blocks[2].attn`), `""` outside. */
  readonly path: string
  readonly frames: Frame | null
  /** The run's number of steps, while an optimiser's update is evaluated. */
  readonly total: Value | null
  /** Reports go nowhere: something is only tried. */
  readonly silent: boolean
  /** Sees every call of a part, while statistics are gathered. */
  readonly tap: Tap | null
  /** What is evaluated will be part of a graph that runs on a device. */
  readonly onDevice: boolean
  report(d: Diagnostic): ErrorValue
  /** The number, when known from constants and facts. */
  known(p: Poly): number | null
  /** Proves two sizes equal, disproves it (reports false), or leaves it for instantiation ("later"). */
  compare(a: Poly, b: Poly): "equal" | "different" | "later"
  apply(callee: Value, args: readonly Value[], at: Span): Value
  /** Registers a stage (or finds the equal one) and returns its artifact. */
  stage(kind: Stage["kind"], args: ReadonlyMap<string, Value>, type: ArtifactType, at: Span): ArtifactValue
  /** A float known once `stage` has run. */
  metric(stage: Stage, field: string, at: Span): FloatValue
  /** An integer known once the stage has run: its atom is `<stage key>.<field>`, shown as `name.field`. */
  unknownInt(stage: Stage, field: string, at: Span): IntValue
  instantiate(spec: SpecValue, role: string, at: Span): InstanceValue | ErrorValue
  weightsOf(instance: InstanceValue): readonly WeightInfo[]
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

/** An instance, the first argument of its `forward`, and what it yields. */
export type Tap = (instance: InstanceValue, input: Value, output: Value) => void

type Place = Pick<Machine, "lowering" | "path" | "frames" | "total" | "silent" | "tap" | "onDevice">

export function createMachine(session: Session, lowering: LoweringContext | null = null): Machine {
  return new Evaluator(session, { lowering, path: "", frames: null, total: null, silent: false, tap: null, onDevice: false })
}

/** The same machine at another place. */
export function moved(m: Machine, changes: Partial<Place>): Machine {
  const { lowering, path, frames, total, silent, tap, onDevice } = m
  return new Evaluator(m.session, { lowering, path, frames, total, silent, tap, onDevice, ...changes })
}

/** A class, because one is made for every call that is evaluated, and its methods need not be. */
class Evaluator implements Machine {
  readonly session: Session
  readonly lowering: LoweringContext | null
  readonly path: string
  readonly frames: Frame | null
  readonly total: Value | null
  readonly silent: boolean
  readonly tap: Tap | null
  readonly onDevice: boolean

  constructor(session: Session, place: Place) {
    this.session = session
    this.lowering = place.lowering
    this.path = place.path
    this.frames = place.frames
    this.total = place.total
    this.silent = place.silent
    this.tap = place.tap
    this.onDevice = place.onDevice
  }

  report(d: Diagnostic): ErrorValue {
    if (!this.silent) record(this.session, relocate(d, this))
    return error
  }

  known(p: Poly): number | null {
    return known(p, this.session.environment.facts)
  }

  compare(a: Poly, b: Poly): "equal" | "different" | "later" {
    return compare(a, b, this.session.environment.facts)
  }

  apply(callee: Value, args: readonly Value[], at: Span): Value {
    return applyValues(callee, args, at, this)
  }

  stage(kind: Stage["kind"], args: ReadonlyMap<string, Value>, type: ArtifactType, at: Span): ArtifactValue {
    const made = registerStage(kind, args, type, at, this)
    // Whoever calls the function would not know that it needs this stage.
    if (this.onDevice && this.lowering === null && (type.is === "weights" || type.is === "statistics")) {
      this.report(diagnostic("SLM2218", at, `\`${kind}\` makes ${type.is} inside of a function that runs on a device`, { help: "make them outside, by a `let` of their own, and use the name in the function" }))
    }
    return made
  }

  metric(stage: Stage, field: string, at: Span): FloatValue {
    this.session.read.add(stage.key)
    const { facts } = this.session.environment
    const value = facts.get(`${stage.key}.${field}`) ?? (facts.has(`${stage.key}.${divergedAt}`) ? NaN : null)
    return value === null ? float(null, at, [stage]) : float(value, at)
  }

  unknownInt(stage: Stage, field: string): IntValue {
    const vocabulary = field === "size" && stage.type.is === "tokenizer"
    return int(symbol(`${stage.key}.${field}`, `${stage.name}.${field}`, { vocabulary, origin: stage.span }), stage.span)
  }

  instantiate(spec: SpecValue, role: string, at: Span): InstanceValue | ErrorValue {
    return instantiate(spec, role, at, this)
  }

  weightsOf(instance: InstanceValue): readonly WeightInfo[] {
    return weightsOf(instance)
  }
}

function record(session: Session, d: Diagnostic): void {
  const key = `${d.code} ${d.span.source} ${d.span.start}`
  if (session.reported.has(key)) return
  session.reported.add(key)
  session.diagnostics.push(d)
}
