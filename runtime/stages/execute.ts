/** Who does the work of each kind of stage. */
import type { StageKind } from "../../compiler/plan/stage.ts"
import {
  bpeStage, byteStage, charStage, chatStage, cleanStage, csv, curriculumStage, documentsStage, encodeStage, jsonl, lengthsStage, loadTokenizerStage, packStage, rarityStage,
  splitStage, takeStage, text,
} from "./data.ts"
import { answersStage } from "./answers.ts"
import { besideStage, notesStage } from "./beside.ts"
import { rereadStage } from "./reread.ts"
import { continuedStage } from "./continued.ts"
import { madeStage } from "./made.ts"
import type { Executor } from "./environment.ts"
import { failed } from "./environment.ts"
import { evaluateStage, lossOfStage } from "./evaluate.ts"
import { exportStage, loadStage } from "./exchange.ts"
import { generateStage } from "./generate.ts"
import { initialStage } from "./initial.ts"
import { observeStage } from "./observe.ts"
import { unsuitedPrecision } from "./precision.ts"
import { appendStage, distinctStage, eachRowStage, filterStage, inLanguageStage, instructStage, parquet, redactStage } from "./rows.ts"
import { overlayStage } from "./overlay.ts"
import { quantizeStage } from "./quantize.ts"
import { rankingStage } from "./ranking.ts"
import { respelledStage } from "./respelled.ts"
import { rewriteStage } from "./rewrite.ts"
import { trainStage } from "./train.ts"
import { entriesStage, beginningsStage, trimStage } from "./vocabulary.ts"
import { writeStage } from "./write.ts"

interface Kind {
  readonly execute: Executor
  /** `kept`: its result is stored. `remade`: only its facts are; the result is made again when something needs it. `always`: it is done in every run. */
  readonly result: "kept" | "remade" | "always"
  /** Its result depends on the arithmetic of the device. */
  readonly numeric: boolean
}

const remade = (execute: Executor): Kind => ({ execute, result: "remade", numeric: false })
const kept = (execute: Executor): Kind => ({ execute, result: "kept", numeric: false })
/** What a device computes: it must have the products that the stage asks for. */
const computed = (execute: Executor): Kind => ({
  result: "kept", numeric: true,
  execute: async (stage, env) => {
    const wrong = unsuitedPrecision(stage, env.device.info)
    return wrong === null ? execute(stage, env) : failed(wrong)
  },
})

export const kinds: { readonly [K in StageKind]: Kind } = {
  text: remade(text), jsonl: remade(jsonl), csv: remade(csv), parquet: remade(parquet),
  documents: remade(documentsStage), clean: remade(cleanStage), split: remade(splitStage), take: remade(takeStage), chat: remade(chatStage),
  each_row: remade(eachRowStage), instruct: remade(instructStage), append: remade(appendStage), filter: remade(filterStage), distinct: remade(distinctStage), redact: remade(redactStage), in_language: remade(inLanguageStage),
  write: computed(writeStage),
  byte: kept(byteStage), char: kept(charStage), bpe: kept(bpeStage), trim: kept(trimStage), load_tokenizer: kept(loadTokenizerStage), entries: kept(entriesStage), beginnings: kept(beginningsStage),
  made: remade(madeStage), encode: remade(encodeStage), pack: remade(packStage), continued: computed(continuedStage), noted: computed(notesStage), reread: kept(rereadStage), beside: remade(besideStage), respelled: remade(respelledStage),
  rarity: remade(rarityStage), lengths: remade(lengthsStage), loss_of: computed(lossOfStage),
  curriculum: remade(curriculumStage),
  train: computed(trainStage), load: remade(loadStage), overlay: remade(overlayStage), initial: kept(initialStage), rewrite: kept(rewriteStage), observe: computed(observeStage), quantize: kept(quantizeStage),
  evaluate: computed(evaluateStage), answered: computed(answersStage), generate: computed(generateStage), ranking: computed(rankingStage),
  expect: { execute: async (stage) => { throw new Error(`stages: ${stage.name} is a condition, not work`) }, result: "always", numeric: false },
  export: { execute: exportStage, result: "always", numeric: false },
}
