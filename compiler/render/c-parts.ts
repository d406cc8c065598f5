/** One text that several compilers can translate side by side, a part of its kernels each; as it stands it is one program. */

/** Kernels lie in so many groups; a part has those groups whose number leaves its own when divided by PARTS. */
export const cGroups = 8

export const parts = `/* As it stands this text is one program. With -DPARTS=n -DPART=i it is one of n parts that are compiled side by side and linked:
   each has the kernels of its groups, and part 0 has the step. */
#ifndef PARTS
#define PARTS 1
#define PART 0
#endif
#define GROUP(n) ((n) % PARTS == PART)
#if PARTS == 1
#define KERNEL static __attribute__((noinline))
#else
#define KERNEL __attribute__((noinline, visibility("hidden")))
#endif
/* What only calls is not worth much of a compiler's time. */
#if defined(__GNUC__) && !defined(__clang__)
#define CALLS __attribute__((optimize("O1")))
#else
#define CALLS
#endif
`

/** Numbers of characters below which a part costs more than it saves: every part begins with the same vectors and functions. */
const leastPart = 30_000

/** How many parts of a text are worth compiling on so many cores. */
export function partsOf(text: string, cores: number): number {
  return Math.max(1, Math.min(cores, cGroups, Math.floor(text.length / leastPart)))
}
