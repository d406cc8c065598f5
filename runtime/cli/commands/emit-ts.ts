/** `slm compile --emit ts`. */
import { display } from "../../../compiler/check/describe.ts"
import { createMachine } from "../../../compiler/check/machine.ts"
import { bundleRecipe } from "../../bundle.ts"
import { writeAtomic } from "../../files.ts"
import { shownPath } from "../../system-error.ts"
import { version } from "../../version.ts"
import type { Command } from "../commands.ts"
import { openPlan } from "../planned.ts"
import { showProblem, usage } from "../problem.ts"
import { openRecipe } from "../recipe.ts"

export const emitTs: Command = async (args, terminal) => {
  for (const name of ["after", "stage", "target"]) if (args.value(name) !== null) return usage(terminal, { message: `--${name} does not belong to --emit ts`, help: "a program of TypeScript is of the whole recipe" })
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, params, checked } = opened
  if (checked.session.undecided) return usage(terminal, { message: "which stages this recipe has is decided by a search, and a program names all of them", help: "write down what the search found, or `slm run` it" })
  const planned = await openPlan(args, terminal)
  if (typeof planned === "number") return planned
  const measured = new Map(planned.plan.stages.map(({ stage, parameters, flops }) => [stage.key, { parameters, flops }]))
  // ts-morph brings a compiler of TypeScript along: it is loaded where it is needed.
  const { renderTs } = await import("../../../compiler/render/ts.ts")
  const machine = createMachine(checked.session)
  const program = renderTs({
    name: recipe.name, version, recipe: bundleRecipe(recipe, checked, null), set: params, doc: checked.session.modules.get(recipe.source.id)?.module.doc ?? null,
    stages: (checked.recipe?.stages ?? []).map((stage) => ({
      stage, parameters: measured.get(stage.key)?.parameters ?? null, flops: measured.get(stage.key)?.flops ?? null,
      args: [...stage.args].flatMap(([name, value]): [string, string][] => {
        const text = display(value, machine)
        return text === null ? [] : [[name, text]]
      }),
    })),
  })
  const out = args.value("out")
  if (out === null) {
    terminal.raw(args.flag("json") ? JSON.stringify({ event: "emitted", text: program }) : program.trimEnd())
    return 0
  }
  const written = writeAtomic(out, program)
  const [failure] = written.ok ? [] : written.failures
  if (failure !== undefined) return showProblem(failure, args, terminal)
  if (args.flag("json")) terminal.line(JSON.stringify({ event: "emitted", file: shownPath(out), bytes: Buffer.byteLength(program) }))
  else terminal.line(`→ ${shownPath(out)}: \`node ${shownPath(out)}\` runs it with Node 22.18 or newer, \`npx tsx ${shownPath(out)}\` with any`)
  return 0
}
