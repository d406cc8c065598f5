/** What a C compiler is told about generated programs. */
import type { CpuTarget } from "../schedule/cpu.ts"

/** Never fast-math: what is fused or reordered is written out in the program. */
export const commonFlags: readonly string[] = ["-O2", "-std=gnu11", "-pthread", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing"]

export const familyFlags: { readonly [F in CpuTarget["family"]]: readonly string[] } = {
  avx512: ["-march=native", "-mprefer-vector-width=512"],
  avx2: ["-march=native", "-mno-avx512f"],
  neon: ["-mcpu=native"],
  portable: [],
}
