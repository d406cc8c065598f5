import { codes } from "../compiler/codes.ts"
import { dataCodes } from "./data/codes.ts"
import { deviceCodes } from "./device-codes.ts"
import { exportCodes } from "./export/codes.ts"
import { lockCodes } from "./lock-codes.ts"
import { safetyCodes } from "./safety-codes.ts"
import { stageCodes } from "./stages/codes.ts"

/** Every diagnostic of the language and the run, for `slm explain`. */
export const catalogue: Readonly<Record<string, { readonly title: string; readonly page: string }>> = { ...codes, ...dataCodes, ...deviceCodes, ...exportCodes, ...stageCodes, ...lockCodes, ...safetyCodes }
