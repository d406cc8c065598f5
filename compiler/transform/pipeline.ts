/** The passes over a finished program, in order. Each is named, and its result is verified. */
import type { Program } from "../graph/node.ts"
import { rewriteProgram } from "../graph/rewrite.ts"
import { verify } from "../graph/verify.ts"
import { copy, reachable } from "../graph/walk.ts"
import { mergeLoops, pruneLoops } from "./loops.ts"
import { simplify } from "./simplify.ts"

export interface Pass {
  readonly name: string
  readonly run: (program: Program) => Program
}

/** What a pass did: nodes of the whole program before and after, those in the bodies of loops included. */
export interface PassReport {
  readonly name: string
  readonly before: number
  readonly after: number
}

/** Nodes that no output needs go, the others are numbered without gaps. Inputs stay: they are the program's contract. */
export function dropDeadCode(program: Program): Program {
  return rewriteProgram(program, copy)
}

/** For a program whose gradients are all taken. Common subexpressions need no pass: builders share them. */
export const passes: readonly Pass[] = [
  { name: "merge loops", run: mergeLoops },
  { name: "prune loops", run: pruneLoops },
  { name: "simplify", run: simplify },
  { name: "drop dead code", run: dropDeadCode },
]

export function countNodes(program: Program): number {
  let pending = [...reachable(program.outputs.map((output) => output.node))]
  let count = 0
  while (pending.length > 0) {
    count += pending.length
    const bodies = new Set(pending.flatMap((node) => (node.op === "scan" ? [node.args.body] : [])))
    pending = [...bodies].flatMap((body) => reachable(body.outputs))
  }
  return count
}

/** Runs `list` in order and verifies after each pass; `log` tells what each did. */
export function runPasses(program: Program, list: readonly Pass[]): { readonly program: Program; readonly log: readonly PassReport[] } {
  let current = verify(program, "before the passes")
  const log = list.map(({ name, run }): PassReport => {
    const before = countNodes(current)
    current = verify(run(current), name)
    return { name, before, after: countNodes(current) }
  })
  return { program: current, log }
}

/** The program a device loads: same meaning, less work. */
export function optimise(program: Program): Program {
  return runPasses(program, passes).program
}
