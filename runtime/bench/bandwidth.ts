/** How fast this machine copies memory, and how large its caches are: what the speed of generation is measured against. */
import { readFileSync, readdirSync } from "node:fs"
import { createRequire } from "node:module"
import { build, findToolchain } from "../devices/cpu-build.ts"

interface Koffi { load(path: string): { func(name: string, result: string, args: readonly string[]): (...args: readonly unknown[]) => unknown } }

const source = `#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec; }
typedef struct { char *from, *to; size_t bytes; long repeats; double seconds; } job;
static void *copy(void *given) {
  job *j = given;
  j->seconds = 1e9;
  for (long i = 0; i < j->repeats; i++) { const double start = now(); memcpy(j->to, j->from, j->bytes); const double took = now() - start; if (took < j->seconds) j->seconds = took; }
  return 0;
}
static char *pages(size_t bytes) { char *p = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); if (p == MAP_FAILED) return 0; madvise(p, bytes, MADV_HUGEPAGE); memset(p, 1, bytes); return p; }
/* Bytes read and written in a second by copies of so many bytes in all, divided among threads that run at once; 0 if there is no memory. */
double slm_copy_rate(double bytes, long threads, long repeats) {
  job jobs[64];
  pthread_t ids[64];
  const size_t each = (size_t)bytes / threads;
  double slowest = 0;
  for (long t = 0; t < threads; t++) { jobs[t] = (job){pages(each), pages(each), each, repeats, 0}; if (!jobs[t].from || !jobs[t].to) return 0; }
  for (long t = 1; t < threads; t++) pthread_create(&ids[t], 0, copy, &jobs[t]);
  copy(&jobs[0]);
  for (long t = 1; t < threads; t++) pthread_join(ids[t], 0);
  for (long t = 0; t < threads; t++) { if (jobs[t].seconds > slowest) slowest = jobs[t].seconds; munmap(jobs[t].from, each); munmap(jobs[t].to, each); }
  return 2.0 * each * threads / slowest;
}
`

/** Bytes read and written per second by a copy of so many bytes; the best of several. Null where there is no compiler. */
export type CopyRate = (bytes: number, threads: number) => number

export async function openCopyRate(): Promise<CopyRate | null> {
  const toolchain = await findToolchain(process.env)
  if ("reason" in toolchain) return null
  const built = await build(toolchain, source)
  if ("reason" in built) return null
  const koffi = createRequire(import.meta.url)("koffi") as Koffi
  const measure = koffi.load(built.path).func("slm_copy_rate", "double", ["double", "long", "long"])
  return (bytes, threads) => Number(measure(bytes, threads, Math.max(4, Math.min(200, Math.round(2e9 / bytes)))))
}

/** Bytes of the largest cache of the first processor; null where the system does not say. */
export function largestCache(): number | null {
  const folder = "/sys/devices/system/cpu/cpu0/cache"
  try {
    const sizes = readdirSync(folder).filter((name) => name.startsWith("index")).map((name) => /^(\d+)([KM])$/.exec(readFileSync(`${folder}/${name}/size`, "utf8").trim()))
    return Math.max(...sizes.map((found) => (found === null ? 0 : Number(found[1]) * (found[2] === "M" ? 2 ** 20 : 2 ** 10)))) || null
  } catch {
    return null
  }
}
