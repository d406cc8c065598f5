/** Gradients of the library's losses: of what is learned, against finite differences in f64; of teachers, none. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../compiler/check/check.ts"
import { gradients } from "../compiler/graph/gradient.ts"
import { evaluate } from "../compiler/graph/interpret.ts"
import { createLowering, lossOf, lowered, tensorOf, termsOf } from "../compiler/graph/lower/context.ts"
import { value } from "../compiler/graph/value.ts"
import type { Shape } from "../compiler/graph/node.ts"
import { environment } from "./testing.ts"

/** `(taught, own) => loss`, and the shape of both. */
interface Case { readonly use: string; readonly loss: string; readonly shape: Shape }
const logits: Shape = [2, 3, 5]
const states: Shape = [1, 4, 6]
const labels = "tensor([[0, 1, -1], [4, -1, 2]])"
const at = "{ segments: tensor([[0, 0, 0, 1]]) }"

const cases: Readonly<Record<string, Case>> = {
  kl: { use: "std.losses { kl }", loss: `kl(taught, own, temperature: 2.0, labels: ${labels})`, shape: logits },
  reverse_kl: { use: "std.losses { reverse_kl }", loss: `reverse_kl(taught, own, temperature: 1.5, labels: ${labels})`, shape: logits },
  js: { use: "std.losses { js }", loss: `js(taught, own, labels: ${labels})`, shape: logits },
  mse: { use: "std.losses { mse }", loss: "mse(taught, own)", shape: states },
  cosine_distance: { use: "std.losses { cosine_distance }", loss: "cosine_distance(taught, own)", shape: states },
  top_kl: { use: "std.distill { top_kl }", loss: `top_kl({ ids: top_k(taught, 2), likely: take_along(log_softmax(taught), top_k(taught, 2)) }, own, labels: ${labels})`, shape: logits },
  attention_distance: { use: "std.distill { attention_distance }", loss: `attention_distance({ query: taught, key: 0.5 * taught }, { query: own, key: own * own }, ${at}, 2)`, shape: states },
  value_relation: { use: "std.distill { value_relation }", loss: `value_relation({ value: taught }, { value: own }, ${at}, 3, decoder: true)`, shape: states },
  minilm: { use: "std.distill { minilm }", loss: `minilm({ query: taught, key: taught, value: taught }, { query: own, key: 2.0 * own, value: own * own }, ${at}, 2)`, shape: states },
  hidden_distance: { use: "std.distill { hidden_distance }", loss: "hidden_distance([taught, 2.0 * taught], [own], x => 3.0 * x, tensor([[0, 1, -1, 2]]))", shape: states },
  dpo: { use: "std.preferences { dpo }", loss: `dpo(_batch => { logits: taught }, beta: 0.5)({ logits: own }, { labels: ${labels} })`, shape: logits },
}

for (const [name, { use, loss, shape }] of Object.entries(cases)) {
  test(`the gradient of ${name}`, () => {
    const checked = check({ id: "test.slm", text: `use ${use}\nlet f = (taught, own) => ${loss}\nlet _f = f` }, environment)
    const entry = checked.session.modules.get("test.slm")?.entries.get("f")
    assert.ok(entry?.value, checked.diagnostics.map((d) => d.message).join("; "))
    const { b, machine } = createLowering(checked.session, { training: true, rows: null })
    const [taught, own] = [b.input("taught", "state", "f32", shape), b.input("own", "state", "f32", shape)]
    const found = lowered(machine.apply(entry?.value ?? { kind: "error", origin: null }, [tensorOf(taught), tensorOf(own)], { source: "test.slm", start: 0, end: 0 }), machine)
    const whole = lossOf(b, termsOf(found, machine))
    const size = shape.reduce((n, d) => n * d, 1)
    const numbers = (k: number): number[] => Array.from({ length: size }, (_, i) => Math.sin(7.3 * i + k) + 0.2 * Math.cos(2.1 * i * k))
    const feeds = (moved: readonly number[]) => ({ taught: value(numbers(1), shape, "f32", "f64"), own: value(moved, shape, "f32", "f64") })
    const at0 = numbers(2)
    const [slope, none] = evaluate(gradients(b, whole, [own, taught]), feeds(at0), "f64")
    const loss0 = (moved: readonly number[]): number => evaluate([whole], feeds(moved), "f64")[0]?.data[0] ?? NaN
    let largest = 0
    for (let k = 0; k < size; k += 3) {
      const h = 1e-5
      const [up, down] = [h, -h].map((d) => loss0(at0.map((x, i) => (i === k ? x + d : x))))
      const expected = ((up ?? NaN) - (down ?? NaN)) / (2 * h)
      const actual = slope?.data[k] ?? NaN
      largest = Math.max(largest, Math.abs(expected))
      assert.ok(Math.abs(actual - expected) < 1e-7 * Math.max(1, Math.abs(expected)), `element ${k}: ${actual} instead of ${expected}`)
    }
    assert.ok(largest > 1e-3, "it depends on what is learned")
    assert.ok(none?.data.every((x) => x === 0), "nothing flows into the teacher")
  })
}

test.run()
