/** `made`: rows that are a function of their number. */
import { limits } from "../../compiler/check/session.ts"
import { int } from "../../compiler/check/make.ts"
import type { Machine } from "../../compiler/check/machine.ts"
import type { RowType, Value } from "../../compiler/check/value.ts"
import { lowered } from "../../compiler/graph/lower/context.ts"
import type { Column, Message, Role } from "../data/rows.ts"
import { whole } from "./artifact.ts"
import { rowsOutcome } from "./data.ts"
import type { Executor } from "./environment.ts"
import { given, machineFor, numberArg, refOf, required } from "./environment.ts"

export const madeStage: Executor = async (stage, env) => {
  const count = required(numberArg(stage, "count", env), stage, "count")
  const by = required(given(stage, "by"), stage, "by")
  const machine = machineFor(env)
  const fields = stage.type.is === "rows" ? stage.type.fields : new Map<string, RowType>()
  const values = new Map([...fields.keys()].map((name): [string, Value[]] => [name, []]))
  const left = env.session.stepsLeft
  try {
    for (let n = 0; n < count; n++) {
      if (env.signal?.aborted) return { is: "interrupted" }
      env.session.stepsLeft = limits.steps // each row has a bound of its own
      const row = lowered(machine.apply(by, [int(n)], stage.span), machine)
      for (const [name, list] of values) list.push(lowered(wrongIn(required(row.kind === "record" ? row.fields.get(name) ?? null : null, stage, name)), machine))
      if (n % 1000 === 999) env.emit({ event: "work", stage: refOf(stage), done: n + 1, total: count, unit: "rows" })
    }
  } finally {
    env.session.stepsLeft = left
  }
  const columns = new Map([...values].map(([name, list]): [string, Column] => [name, columnOf(fields.get(name) ?? "string", list, machine)]))
  const place = Int32Array.from({ length: count }, (_, n) => n + 1)
  return rowsOutcome(whole({ count, columns, places: { files: [stage.name], file: new Int32Array(count), line: place }, dialogue: null }))
}

/** The mistake inside of a value, if there is one: what only the number of a row shows (`n / 4` that does not come out even). Else the value. */
function wrongIn(value: Value): Value {
  const inner = value.kind === "list" ? value.items : value.kind === "record" ? [...value.fields.values()] : []
  return inner.map(wrongIn).find(({ kind }) => kind === "error") ?? value
}

function columnOf(type: RowType, values: readonly Value[], m: Machine): Column {
  if (type === "chat") return { is: "chat", values: values.map(messages) }
  if (type === "string") return { is: "string", values: values.map(text) }
  return { is: type === "int" ? "int" : "float", values: Float64Array.from(values, (value) => number(value, m)) }
}

function text(value: Value | undefined): string {
  if (value?.kind !== "string" || value.value === null) throw new Error(`made: a ${value?.kind ?? "missing value"} instead of a text`)
  return value.value
}

function number(value: Value, m: Machine): number {
  const found = value.kind === "int" ? m.known(value.poly) : value.kind === "float" ? value.value : null
  if (found === null) throw new Error(`made: a ${value.kind} instead of a number`)
  return found
}

const roles: ReadonlySet<string> = new Set<Role>(["system", "user", "assistant", "tool"])
const isRole = (name: string): name is Role => roles.has(name)

function messages(value: Value): readonly Message[] {
  return (value.kind === "list" ? value.items : []).map((item) => {
    const fields = item.kind === "record" ? item.fields : new Map<string, Value>()
    const role = text(fields.get("role"))
    if (!isRole(role)) throw new Error(`made: there is no role ${role}`)
    return { role, content: text(fields.get("content")) }
  })
}
