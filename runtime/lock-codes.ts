/** Differences from a lock file: title and page of each code, in the manner of `grammar/codes.ts`. */
export const lockCodes = {
  SLM3401: {
    title: "there is no lock file",
    page: "`--locked` holds a run to `NAME.lock` beside the recipe, which a run that ends well writes. Run once without it, and keep the file with the recipe.",
  },
  SLM3402: {
    title: "the lock file cannot be read",
    page: "`NAME.lock` is not what slm writes: it was changed by hand, cut short, or comes from another version of its form. Take it from where the recipe comes from, or run without `--locked` to write it anew.",
  },
  SLM3403: {
    title: "slm, its library or a setting is another one",
    page: "The lock was written with another version of slm, or another build of its compiler, another text of its library, or other values of `--set`. Results may differ where nothing in the recipe does. Use the same ones, or accept the new ones: a run without `--locked` writes the lock anew.",
  },
  SLM3404: {
    title: "an input is another one",
    page: "A file that the recipe reads, or a package it comes from, is not what it was when the lock was written; or files have come or gone. Restore it, or accept the new content: a run without `--locked` writes the lock anew.",
  },
  SLM3405: {
    title: "the recipe says something else",
    page: "Stages have come, gone or changed their meaning since the lock was written. Comments, layout and names are not meaning. Undo the change, or accept it: a run without `--locked` writes the lock anew.",
  },
  SLM3406: {
    title: "the results are other ones",
    page: "Everything that the lock names is as it was, and a stage still yielded something else. Within one numerics class results are equal bit by bit; in another one losses may differ by 2% and shares by two points. A difference beyond that is a fault of the device, of the machine, or of slm.",
  },
  SLM3407: {
    title: "a result in the run's folder is damaged",
    page: "The files below `artifacts/` of a run's folder are copies of what the run made, and their hash is part of its record. They were changed, cut short, or a disk has lost a bit. Run the recipe again: the copy is taken from the store, whose files are checked each time they are read, or the stage is carried out again.",
  },
} as const satisfies Record<string, { readonly title: string; readonly page: string }>

export type LockCode = keyof typeof lockCodes
