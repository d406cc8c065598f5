import { syntaxCodes } from "../grammar/codes.ts"
import { checkCodes } from "./check/codes.ts"
import { shapeCodes } from "./check/primitives/codes.ts"

/** Every diagnostic of the language, with its page for `slm explain` (Markdown). */
export const codes: Readonly<Record<string, { readonly title: string; readonly page: string }>> = { ...syntaxCodes, ...checkCodes, ...shapeCodes }
