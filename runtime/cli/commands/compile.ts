import { printProgram } from "../../../compiler/graph/print.ts"
import type { Program } from "../../../compiler/graph/node.ts"
import { fuse } from "../../../compiler/kernel/fuse.ts"
import { orderKernels } from "../../../compiler/kernel/order.ts"
import { printFusion, printKernels } from "../../../compiler/kernel/print.ts"
import { renderC } from "../../../compiler/render/c.ts"
import { renderWgsl, printWgsl } from "../../../compiler/render/wgsl.ts"
import { cpuTargets, scheduleCpu, type CpuTarget } from "../../../compiler/schedule/cpu.ts"
import { isRefused } from "../../../compiler/schedule/gpu.ts"
import { printRoofline } from "../../../compiler/schedule/gpu-cost.ts"
import { usualTarget } from "../../../compiler/schedule/gpu-plans.ts"
import { nearest } from "../../../grammar/nearest.ts"
import { parse } from "../../../grammar/parse.ts"
import { findToolchain } from "../../devices/cpu-build.ts"
import { compileGpu } from "../../devices/webgpu.ts"
import type { StagePlan } from "../../plan.ts"
import { programsOf } from "../../plan-stages.ts"
import { readRecipe } from "../../recipe.ts"
import type { Arguments } from "../args.ts"
import type { Command, ExitCode } from "../commands.ts"
import { openPlan } from "../planned.ts"
import { usage } from "../problem.ts"
import { hasErrors, showDiagnostics } from "../recipe.ts"
import type { Terminal } from "../terminal.ts"

const phases = ["parse", "check", "graph", "transform", "fusion", "kernels", "c", "wgsl"] as const
type Phase = (typeof phases)[number]

export const compile: Command = async (args, terminal) => {
  if (args.value("emit") === "ts") return (await import("./emit-ts.ts")).emitTs(args, terminal)
  if (args.value("emit") !== null) return (await import("./emit.ts")).emit(args, terminal)
  const alone = ["out", "target", "device"].find((name) => args.value(name) !== null)
  if (alone !== undefined) return usage(terminal, { message: `--${alone} belongs to --emit`, help: "slm compile RECIPE --emit c --stage NAME --out FOLDER" })
  const phase = args.value("after") ?? "transform"
  if (!isPhase(phase)) {
    const close = nearest(phase, phases)
    return usage(terminal, { message: `there is no phase ${JSON.stringify(phase)}`, help: close === null ? `phases: ${phases.join(", ")}` : `did you mean ${close}?` })
  }
  if (args.flag("roofline") && phase !== "kernels") return usage(terminal, { message: "--roofline belongs to --after kernels", help: "slm compile RECIPE --after kernels --roofline" })
  return phase === "parse" ? printTree(args, terminal) : printStages(phase, args, terminal)
}

function isPhase(text: string): text is Phase {
  return phases.some((phase) => phase === text)
}

function printTree(args: Arguments, terminal: Terminal): ExitCode {
  const recipe = readRecipe(args.positionals[0] ?? "")
  if ("message" in recipe) return usage(terminal, recipe)
  const { module, diagnostics } = parse(recipe.source)
  showDiagnostics(diagnostics, new Map([[recipe.source.id, recipe.source]]), args, terminal)
  const places = (key: string, value: unknown): unknown => (key === "span" || key.endsWith("Span") ? undefined : value)
  if (args.flag("json")) for (const item of module.items) terminal.line(JSON.stringify({ event: "item", ...item }))
  else terminal.line(JSON.stringify(module.items, places, 2))
  return hasErrors(diagnostics) ? 1 : 0
}

async function printStages(phase: Exclude<Phase, "parse">, args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const opened = await openPlan(args, terminal)
  if (typeof opened === "number") return opened
  const { plan: planned } = opened
  const wanted = args.value("stage")
  const names = planned.stages.map(({ stage }) => stage.name)
  if (wanted !== null && !names.includes(wanted)) {
    const close = nearest(wanted, names)
    return usage(terminal, { message: `there is no stage ${JSON.stringify(wanted)}`, help: close === null ? `stages: ${names.join(", ")}` : `did you mean ${close}?` })
  }
  const json = args.flag("json")
  const target = phase === "c" ? await targetHere() : cpuTargets.portable
  for (const each of planned.stages.filter(({ stage }) => wanted === null || stage.name === wanted)) {
    const { stage } = each
    if (phase === "check") showStage(each, json, terminal)
    else for (const program of programsOf(stage, planned.checked, phase === "graph")) {
      const text = args.flag("roofline") ? onGpu(program, "roofline") : textOf(program, phase, target)
      terminal.line(json ? JSON.stringify({ event: "program", stage: stage.name, name: program.name, phase, text }) : text)
    }
  }
  return 0
}

function showStage({ stage, args }: StagePlan, json: boolean, terminal: Terminal): void {
  if (json) return terminal.line(JSON.stringify({ event: "stage", name: stage.name, kind: stage.kind, key: stage.key, args: Object.fromEntries(args) }))
  terminal.line(`${stage.name} = ${stage.kind}  ${terminal.style("dim", stage.key.slice(0, 16))}`)
  for (const [name, value] of args) terminal.line(`  ${name}: ${value}`)
}

function textOf(program: Program, phase: Exclude<Phase, "parse" | "check">, target: CpuTarget): string {
  switch (phase) {
    case "graph": case "transform": return printProgram(program)
    case "fusion": return printFusion(program, fuse(program))
    case "kernels": return printKernels(orderKernels(fuse(program)))
    case "c": return renderC(scheduleCpu(orderKernels(fuse(program)), target))
    case "wgsl": return onGpu(program, "wgsl")
  }
}

/** A program as a GPU of the usual limits would get it. */
function onGpu(program: Program, as: "wgsl" | "roofline"): string {
  const scheduled = compileGpu(program, usualTarget)
  if (isRefused(scheduled)) return `${program.name}: ${scheduled.refused.what} needs more than usual GPUs offer (${scheduled.refused.limit})`
  return as === "wgsl" ? printWgsl(renderWgsl(scheduled)) : printRoofline(scheduled)
}

/** The instructions that the `cpu` device would use on this machine. */
async function targetHere(): Promise<CpuTarget> {
  const toolchain = await findToolchain(process.env)
  return "target" in toolchain ? toolchain.target : cpuTargets.portable
}
