/** Mistakes of devices: title and page of each code, in the manner of `grammar/codes.ts`. */
export const deviceCodes = {
  SLM3501: {
    title: "the device failed",
    page: "The device could be used when the run began, and then could not: the disk under its cache is full, its compiler was stopped or is broken, or memory ran out. The message has what it said. `slm doctor` tries every device again; `--device tfjs` and `--device reference` need neither compiler nor cache. Finished stages are kept.",
  },
} as const satisfies Record<string, { readonly title: string; readonly page: string }>
