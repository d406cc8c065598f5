import { test } from "uvu"
import * as assert from "uvu/assert"
import { showInOrder } from "./live-texts.ts"

function page() {
  const said: string[] = []
  return { said, page: { begin: (i: number) => void said.push(`<${i}>`), write: (piece: string) => void said.push(piece), finish: () => void said.push("/") } }
}

test("texts that grow together are shown one after the other, each piece once", () => {
  const { said, page: shown } = page()
  const live = showInOrder(3, shown)
  assert.equal(said, [])
  live.add(0, "a", false)
  live.add(1, "x", false)
  live.add(2, "", true)
  live.add(0, "b", false)
  live.add(1, "y", true)
  assert.equal(said, ["<0>", "a", "b"])
  live.add(0, "", true)
  assert.equal(said.join(" "), "<0> a b / <1> xy / <2> /")
})

test("what was interrupted is shown as far as it came", () => {
  const { said, page: shown } = page()
  const live = showInOrder(2, shown)
  live.add(1, "x", false)
  live.end()
  live.end()
  assert.equal(said.join(" "), "<0> / <1> x /")
})

test.run()
