import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import type { Frame, Machine } from "./machine.ts"
import { error } from "./make.ts"
import { limits } from "./session.ts"
import type { ErrorValue } from "./value.ts"

/** Evaluation is nested as deeply as it may be: said once, as a function that calls itself where it is that. */
export function tooDeep(at: Span, m: Machine): ErrorValue {
  const again = recursion(m)
  const key = again?.code ?? tooDeep
  const known = m.session.outOfBounds.has(key)
  m.session.outOfBounds.add(key)
  if (known) return error
  if (again === null) {
    return m.report(diagnostic("SLM2401", at, "this is nested too deeply to evaluate", { notes: [`at most ${limits.depth} expressions may be inside of each other; a call counts as three`] }))
  }
  const name = again.name === "" ? "this function" : `\`${again.name}\``
  return m.report(diagnostic("SLM2008", again.span, `${name} calls itself without end`, { notes: ["the language has no recursion"] }))
}

/** The outermost call of code that is inside of itself, again and again. */
function recursion(m: Machine): Frame | null {
  const seen = new Map<object, Frame[]>()
  for (let f = m.frames; f !== null; f = f.outer) seen.set(f.code, [...(seen.get(f.code) ?? []), f])
  const [most] = [...seen.values()].sort((a, b) => b.length - a.length)
  return most !== undefined && most.length > 10 ? (most[most.length - 2] ?? null) : null
}
