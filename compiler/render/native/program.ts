/** The files of one program: its C text under names of its own, and the table that says where its numbers lie. */
import type { Buffer } from "../../kernel/ir.ts"
import type { CpuProgram, CpuTarget } from "../../schedule/cpu.ts"
import { carefully, commonFlags, familyFlags } from "../c-flags.ts"
import { renderC } from "../c.ts"
import { commented, cText } from "./text.ts"

/** The lines of a recipe that something was made from. */
export interface Origin {
  readonly recipe: string
  readonly firstLine: number
  readonly lines: readonly string[]
}

export interface NativeProgram {
  /** A C name: `step`, `measure`. */
  readonly name: string
  readonly scheduled: CpuProgram
}

/** The comment that says where a file comes from. */
export function originComment(what: string, { recipe, firstLine, lines }: Origin): string {
  const quoted = lines.map((line, i) => `   ${String(firstLine + i).padStart(4)} | ${commented(line)}`)
  return [`/* ${commented(what)}`, `   from ${commented(recipe)}, line${lines.length === 1 ? ` ${firstLine}` : `s ${firstLine} to ${firstLine + lines.length - 1}`}, written by slm:`, ...quoted, "*/", ""].join("\n")
}

/** What a program exports is renamed, so that several can be linked. */
export function programFile({ name, scheduled }: NativeProgram, origin: Origin): string {
  const renamed = ["open", "close", "step", "step_address", "arena", "bytes"].map((what) => `#define slm_${what} ${name}_${what}`)
  return [originComment(`${scheduled.name}: one call of ${name}_step is one step.`, origin), ...renamed, "", renderC(scheduled)].join("\n")
}

const types = { f32: "F32", i32: "I32", bool: "BOOL" } as const

/** States of keys and values may take two bytes; weights are given as wide as they are computed with. */
function typeOf({ dtype, stored, name }: Buffer): string {
  if (stored !== null && stored !== "f16" && stored !== "bf16") throw new Error(`native: ${name} is stored as ${stored}`)
  return stored === null ? types[dtype] : stored.toUpperCase()
}

/** The table of a program in main.c: `step_code`. */
export function programTable({ name, scheduled }: NativeProgram): string {
  const states = new Set(scheduled.inputs.filter(({ buffer }) => buffer.role === "state").map((input) => input.name))
  const line = (input: { readonly name: string; readonly buffer: Buffer }): string => {
    const { buffer } = input
    const offset = scheduled.offsets.get(buffer)
    if (offset === undefined) throw new Error(`native: ${input.name} has no place in ${scheduled.name}`)
    return `  {${cText(input.name)}, ${states.has(input.name) && buffer.role === "state" ? 1 : 0}, ${typeOf(buffer)}, ${offset}L, ${buffer.size}L}, /* ${buffer.stored ?? buffer.dtype}[${buffer.shape.join(", ")}] */`
  }
  const table = (of: string, list: readonly { readonly name: string; readonly buffer: Buffer }[]): string[] =>
    [`static const place ${name}_${of}[] = {`, ...list.map(line), "  {0, 0, F32, 0, 0},", "};"]
  return [
    `/* ${commented(scheduled.name)}: ${name}.c, arena ${(scheduled.arena / 1e6).toFixed(1)} MB */`,
    `program *${name}_open(long threads);`, `void *${name}_arena(program *);`, `int ${name}_step(program *);`, `void ${name}_close(program *);`,
    ...table("inputs", scheduled.inputs), ...table("outputs", scheduled.outputs),
    `static code ${name}_code = {"${name}", ${name}_open, ${name}_arena, ${name}_step, ${name}_close, ${name}_inputs, ${name}_outputs, ${scheduled.inputs.length}, ${scheduled.outputs.length}, 0};`,
    "",
  ].join("\n")
}

/** `main.c`: where it comes from, the tables of its programs, and what runs them. */
export function mainFile(what: string, programs: readonly NativeProgram[], origin: Origin, body: string): string {
  const includes = ["#define _GNU_SOURCE", '#include "slm.h"', "#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>", ""]
  return [
    originComment(what, origin), ...includes, ...programs.map(programTable),
    `static code *const codes[] = {${[...programs.map(({ name }) => `&${name}_code`), "0"].join(", ")}};`, body,
  ].join("\n")
}

export function makefile(binary: string, sources: readonly string[], { family }: CpuTarget): string {
  const objects = sources.map((file) => file.replace(/\.c$/, ".o")).join(" ")
  return `# ${binary}: for ${family === "portable" ? "any processor" : `a processor with ${family}`}; \`make CC=clang\` takes another compiler.
# Rounding is part of the meaning: no -ffast-math, no -ffp-contract.
CC = cc
CFLAGS = ${[carefully, ...commonFlags, ...familyFlags[family], "-w"].join(" ")}

${binary}: ${objects}
	$(CC) $(CFLAGS) -o $@ ${objects}

${objects}: slm.h

.c.o:
	$(CC) $(CFLAGS) -c -o $@ $<

clean:
	rm -f ${binary} ${objects}

.PHONY: clean
`
}
