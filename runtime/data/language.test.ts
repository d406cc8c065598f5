import { test } from "uvu"
import * as assert from "uvu/assert"
import { documents } from "./documents.ts"
import { inLanguage, languageIdentifier } from "./language.ts"
import { expectGood } from "./result.ts"
import { takeRows } from "./rows.ts"
import { novel, rowsOf, textsOf, told } from "./testing.ts"

const identifier = await languageIdentifier()

const texts = [
  "The ship drew near to the shore, and nobody said a word about what had happened in the night.",
  "Das Schiff kam der Küste näher, und niemand sprach ein Wort über das, was in der Nacht geschehen war.",
  "Le navire s'approchait de la côte, et personne ne disait un mot de ce qui s'était passé dans la nuit.",
  "El barco se acercaba a la costa y nadie decía una palabra de lo que había pasado aquella noche.",
  "船慢慢靠近海岸，没有人说起昨天夜里发生的事情。",
  "Корабль подходил к берегу, и никто не говорил ни слова о том, что случилось ночью.",
]

test("sentences in six languages", () => {
  assert.equal(texts.map((text) => identifier.identify(text).language), ["en", "de", "fr", "es", "zh", "ru"])
  const { value, report } = expectGood(inLanguage(rowsOf(texts), { keep: ["en", "de"], unsure: "drop" }, identifier), "test")
  assert.equal(textsOf(value), texts.slice(0, 2))
  assert.equal(report.drops.map(({ reason, count }) => `${reason}: ${count}`), ["language: fr: 1", "language: es: 1", "language: zh: 1", "language: ru: 1"])
})

test("a novel is English, paragraph by paragraph", () => {
  const rows = takeRows(expectGood(documents(novel()), "test").value, 800)
  const { report } = expectGood(inLanguage(rows, { keep: ["en"], unsure: "keep" }, identifier), "test")
  assert.ok(report.before - report.after <= 8, JSON.stringify(report.drops))
})

test("what is too short to tell, and codes that are none", () => {
  const rows = rowsOf([texts[0] ?? "", "7", "?!"])
  assert.is(expectGood(inLanguage(rows, { keep: ["en"], unsure: "keep" }, identifier), "test").value.count, 3)
  assert.is(expectGood(inLanguage(rows, { keep: ["en"], unsure: "drop" }, identifier), "test").value.count, 1)
  assert.is(told(inLanguage(rows, { keep: ["english"], unsure: "keep" }, identifier)), "SLM3127 `english` is not the code of a language that is told apart")
  assert.is(told(inLanguage(rowsOf(["7"]), { keep: ["en"], unsure: "drop" }, identifier)), "SLM3116 none of the 1 rows is in en")
})

test.run()
