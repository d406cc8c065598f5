import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import { decomposeNodes } from "../../compiler/graph/composite.ts"
import type { Node } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import type { Sign } from "./tfjs-sign.ts"
import { signOf } from "./tfjs-sign.ts"

const b = createBuilder()
const x = b.input("x", "batch", "f32", [3, 4])
const y = b.input("y", "batch", "f32", [3, 4])

const cases: readonly (readonly [string, Node, Sign])[] = [
  ["an input", x, null],
  ["a square", g.square(b, x), "up"],
  ["a product", g.mul(b, x, y), null],
  ["a square with a minus", g.neg(b, g.square(b, x)), "down"],
  ["a square times a negative number", g.mul(b, g.square(b, x), -0.5), "down"],
  ["a sum of squares, broadcast", g.broadcastTo(b, g.sum(b, g.square(b, x), [1], true), [3, 4]), "up"],
  ["a difference of squares", g.sub(b, g.square(b, x), g.square(b, y)), null],
  ["x less its maximum", g.sub(b, x, g.maxOf(b, x, [1], true)), "down"],
  ["x less the maximum of another", g.sub(b, x, g.maxOf(b, y, [1], true)), null],
  ["the logarithm of a sum of squares", g.log(b, g.sum(b, g.square(b, x), [1], true)), null],
  ["log softmax", decomposeNodes([g.logSoftmax(b, x)])[0] ?? x, "down"],
  ["log softmax, colder", decomposeNodes([g.mul(b, g.logSoftmax(b, g.mul(b, x, 0.5)), 2)])[0] ?? x, "down"],
]

for (const [name, node, sign] of cases) test(name, () => assert.is(signOf(node), sign))

test.run()
