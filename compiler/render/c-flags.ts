/** What a C compiler is told about generated programs. */
import type { CpuTarget } from "../schedule/cpu.ts"

/** Never fast-math: what is fused or reordered is written out in the program. */
export const commonFlags: readonly string[] = ["-std=gnu11", "-pthread", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing"]

/** Every processor with NEON has all that these programs name; Apple's Clang knows neither what is native everywhere. */
export const familyFlags: { readonly [F in CpuTarget["family"]]: readonly string[] } = {
  avx512: ["-march=native", "-mprefer-vector-width=512"],
  avx2: ["-march=native", "-mno-avx512f"],
  neon: [],
  portable: [],
}

/** For programs that are kept. */
export const carefully = "-O2"

/**
 * For programs that somebody waits for: vectors are written out, so that GCC finds nothing more at -O2 where they have instructions of their own,
 * and takes a third longer. What is fused does not depend on it.
 */
export function quickly(family: CpuTarget["family"], isGcc: boolean): string {
  return isGcc && (family === "avx512" || family === "avx2") ? "-O1" : carefully
}
