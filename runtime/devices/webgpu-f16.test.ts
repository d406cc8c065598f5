/**
 * Products of f16 on the GPU. Software adapters lack `shader-f16`: there the same numbers are multiplied in tiles of f32 and compared with the
 * reference, and the shaders with tiles of f16 are compiled by Dawn's null backend, which runs nothing.
 */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Program } from "../../compiler/graph/node.ts"
import { renderWgsl } from "../../compiler/render/wgsl.ts"
import type { Shader } from "../../compiler/render/wgsl.ts"
import { isRefused } from "../../compiler/schedule/gpu.ts"
import { smallestTarget } from "../../compiler/schedule/gpu-plans.ts"
import { configs, prepareConfig, recipeOf } from "../bench/config.ts"
import { runCase } from "./conformance.ts"
import { casesInF16 } from "./conformance-f16.ts"
import { checkMerged, merged } from "./cpu-testing.ts"
import { createReference } from "./reference.ts"
import { softwareGpu, validator } from "./webgpu-testing.ts"
import { compileGpu } from "./webgpu.ts"

const device = await softwareGpu()

const cases = casesInF16()

if (device !== null) {
  test("products and attention with factors of f16 agree with the reference, and a second time with themselves", async () => {
    assert.ok(cases.length > 30, String(cases.length))
    assert.equal(await checkMerged(device, createReference(), cases), [])
    assert.equal(await runCase(device, merged(cases)), await runCase(device, merged(cases)))
  })

  test("an adapter without shader-f16 says so instead of running stages in f16", () => {
    if (device.target.f16) return console.log(`  skipped: ${device.adapter.name} has shader-f16`)
    assert.is(device.info.f16Class, undefined)
  })
}

function shadersOf(program: Program, f16: boolean): readonly Shader[] {
  const scheduled = compileGpu(program, { ...smallestTarget, subgroups: true, f16 })
  if (isRefused(scheduled)) throw new Error(scheduled.refused.limit)
  return renderWgsl(scheduled).shaders
}

test("where there is shader-f16 tiles are of f16 and sums of f32, and nothing else changes", () => {
  const [native, wide] = [shadersOf(merged(cases).program, true), shadersOf(merged(cases).program, false)]
  assert.ok(native.some(({ text }) => text.startsWith("enable f16;") && /var<workgroup> tile_a: array<vec4<f16>, /.test(text)))
  for (const kind of ["attend ", "attend_queries ", "attend_keys "]) assert.ok(native.some(({ name, text }) => name.startsWith(kind) && /var<workgroup> tile_q: array<vec4<f16>, /.test(text)), kind)
  assert.not.ok(wide.some(({ text }) => /\bf16\b/.test(text)))
  const plain = (text: string): string => text.replace("enable f16;\n", "")
    // Tiles of products and of attention.
    .replaceAll(/vec4<f32>\((tile_\w+\[[^\]]*\])\)/g, "$1").replaceAll(/vec4<f16>\((vec4<f32>\(.*\)|[qkvu]_at\([^;]*\))\);/g, "$1;").replaceAll("vec4<f16>", "vec4<f32>")
  assert.equal(native.map(({ text }) => plain(text)), wide.map(({ text }) => text))
})

const checker = await validator(["shader-f16", "subgroups"])

if (checker !== null) {
  const { device: gpu } = checker
  const complaints = async (shaders: readonly Shader[]): Promise<readonly string[]> => {
    const found = await Promise.all(shaders.map(async ({ name, text }) => {
      gpu.pushErrorScope("validation")
      const module = gpu.createShaderModule({ code: text })
      const made = gpu.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } }).then(() => null, (error: unknown) => String(error))
      const [wrong, refused] = [await gpu.popErrorScope(), await made]
      return wrong === null && refused === null ? [] : [`${name}: ${wrong?.message ?? refused}`]
    }))
    return found.flat()
  }

  test("Dawn takes every shader with tiles of f16: all cases, and the training step of config B", async () => {
    const config = configs.find(({ name }) => name === "B")
    if (config === undefined) throw new Error("there is no config B")
    const step = prepareConfig(config, recipeOf(config, "f16")).step
    for (const program of [merged(cases).program, step]) {
      const shaders = shadersOf(program, true)
      const own = shaders.filter(({ text }) => text.startsWith("enable f16;"))
      assert.ok(own.length > 4, `${own.length} of ${shaders.length}`)
      assert.equal(await complaints(shaders), [])
    }
    if (device?.target.f16 !== true) console.log("  skipped: no adapter here has shader-f16; its shaders were compiled and not run")
  })

  test("what is wrong in a shader would be seen", async () => {
    const [shader] = shadersOf(merged(cases).program, true).filter(({ text }) => text.startsWith("enable f16;"))
    if (shader === undefined) throw new Error("there is no shader with f16")
    assert.match((await complaints([{ ...shader, text: shader.text.replace("enable f16;", "") }])).join(), /f16/)
    assert.is((await complaints([{ ...shader, text: shader.text.replace("vec4<f16>(vec4<f32>(", "vec4<f32>(vec4<f32>(") }])).length, 1)
  })
}

test.after(() => { device?.close(); checker?.close() })
test.run()
