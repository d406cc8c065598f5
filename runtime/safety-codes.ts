/** What keeps a stranger's recipe in its place: title and page of each code, in the manner of `grammar/codes.ts`. */
export const safetyCodes = {
  SLM3601: {
    title: "more memory than a run may take",
    page: "Before anything is allocated, what a stage needs at once is counted and compared with `--max-memory` (default: three quarters of the machine's memory). Make the batch, the rows or the model smaller, keep less for the backward pass, or allow more: `--max-memory 32G`.",
  },
  SLM3602: {
    title: "more parameters than a model may have",
    page: "The weights of every model of a recipe are counted before a stage runs and compared with `--max-params` (default: as many as the machine's memory can train, 16 bytes for each). Make the model smaller, or allow more: `--max-params 2G`.",
  },
  SLM3603: {
    title: "a pattern that looks through too much",
    page: "A pattern with `**` walks through every folder below the one it names, and gives up after 200,000 entries. Name a folder nearer to the files.",
  },
  SLM3604: {
    title: "an output folder that leads elsewhere",
    page: "A run writes below its output folder and nowhere else. Where a folder in it, or `runs` or `.slm` beside the recipe, is a link to another place, writing there could replace files that do not belong to the run: a folder that came with a recipe may hold such links. Remove the link, or choose a folder yourself with `--out FOLDER`.",
  },
  SLM3605: {
    title: "a module that cannot be fetched",
    page: "With `--allow-net` modules are fetched by `https://` alone. The server must answer with the text itself (status 200, UTF-8, at most 4 MB, at most 5 redirections that stay on `https://`) within 20 seconds. What was fetched is compared with its hash before it is kept.",
  },
} as const satisfies Record<string, { readonly title: string; readonly page: string }>

export type SafetyCode = keyof typeof safetyCodes
