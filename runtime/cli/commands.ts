import type { Arguments, CommandSpec } from "./args.ts"
import type { Terminal } from "./terminal.ts"

/** 0 done, 1 wrong recipe or failed `expect`, 2 wrong usage, 70 a bug of ours, 130 interrupted. */
export type ExitCode = 0 | 1 | 2 | 70 | 130

export type Command = (args: Arguments, terminal: Terminal) => Promise<ExitCode>

interface Entry {
  readonly spec: CommandSpec
  /** Loaded only when the command is used, so that light commands start at once. */
  readonly load: () => Promise<Command>
}

const setOption = { type: "values", placeholder: "NAME=VALUE", help: "set a `param` of the recipe (may be repeated)" } as const
const readOption = { type: "values", placeholder: "PATH", help: "a folder or file outside of the recipe's folder that it may read (may be repeated)" } as const
const netOption = { type: "flag", help: "fetch modules of `https://` addresses that are not here yet" } as const
const limitOptions = {
  "max-memory": { type: "value", placeholder: "SIZE", help: "refuse stages that need more, such as 8G (default: three quarters of the machine's memory)" },
  "max-params": { type: "value", placeholder: "N", help: "refuse models with more parameters, such as 500M (default: what the machine's memory can train)" },
} as const
const deviceOption = { type: "value", placeholder: "NAME", help: "webgpu, webgpu:1, cpu, tfjs, reference; default: the best one usable here" } as const

export const commands: readonly Entry[] = [
  {
    spec: {
      name: "new", summary: "Makes a working recipe with sample rows.", positionals: ["[TEMPLATE]", "[FOLDER]"], options: {},
      details: "Templates: npc, chat, classifier, shrink. Existing files are never overwritten.",
      examples: ["slm new npc my-npc"],
    },
    load: async () => (await import("./commands/new.ts")).newRecipe,
  },
  {
    spec: {
      name: "check", summary: "Proves that a recipe fits together, without running it.", positionals: ["RECIPE…"], options: { set: setOption, "allow-net": netOption },
      examples: ["slm check npc.slm", "slm check npc.slm --json"],
    },
    load: async () => (await import("./commands/check.ts")).check,
  },
  {
    spec: {
      name: "fmt", summary: "Rewrites recipes in the canonical layout.", positionals: ["RECIPE…"],
      options: { check: { type: "flag", help: "write nothing; exit 1 if a file would change" }, stdout: { type: "flag", help: "print instead of rewriting" } },
      examples: ["slm fmt npc.slm", "slm fmt --check examples/*.slm"],
    },
    load: async () => (await import("./commands/fmt.ts")).fmt,
  },
  {
    spec: {
      name: "explain", summary: "Explains a diagnostic code, with an example that fails and one that works.", positionals: ["[CODE]"], options: {},
      details: "Without a code: lists all of them.", examples: ["slm explain SLM2104"],
    },
    load: async () => (await import("./commands/explain.ts")).explain,
  },
  {
    spec: {
      name: "data", summary: "Shows what the recipe reads: counts, what was dropped and why, lengths, rendered examples.", positionals: ["RECIPE"],
      options: { set: setOption, "allow-read": readOption, "allow-net": netOption, ...limitOptions }, examples: ["slm data npc.slm"],
    },
    load: async () => (await import("./commands/data.ts")).data,
  },
  {
    spec: {
      name: "plan", summary: "Shows what a run would do, with parameters, FLOPs, memory and time. Starts nothing.", positionals: ["RECIPE"],
      options: { set: setOption, "allow-read": readOption, "allow-net": netOption, ...limitOptions, device: deviceOption, args: { type: "flag", help: "show every argument, defaults included" },
        out: { type: "value", placeholder: "FILE", help: "write the plan down, for `slm run --plan FILE`" } },
      details: "= is done before, + is new, ~ is to run again: below it stands what changed since the last run.",
      examples: ["slm plan npc.slm", "slm plan npc.slm --set lr=1e-3 --out npc.plan"],
    },
    load: async () => (await import("./commands/plan.ts")).plan,
  },
  {
    spec: {
      name: "run", summary: "Runs a recipe; stages that are already done are reused.", positionals: ["RECIPE"],
      options: {
        set: setOption, "allow-read": readOption, "allow-net": netOption, ...limitOptions, device: deviceOption,
        out: { type: "value", placeholder: "FOLDER", help: "where results go (default: runs/NAME beside the recipe)" },
        profile: { type: "flag", help: "measure the kernels of the first steps (webgpu)" },
        fresh: { type: "flag", help: "do not reuse finished stages" },
        locked: { type: "flag", help: "refuse where anything differs from RECIPE's .lock file" },
        plan: { type: "value", placeholder: "FILE", help: "refuse where anything differs from the plan that `slm plan --out FILE` wrote" },
        checkpoint: { type: "value", placeholder: "SECONDS", help: "at least so long between checkpoints of a training (default 30; 0: after every step)" },
      },
      examples: ["slm run npc.slm", "slm run npc.slm --set lr=1e-3 --out runs/slow"],
    },
    load: async () => (await import("./commands/run.ts")).run,
  },
  {
    spec: {
      name: "generate", summary: "Writes text with a model of a finished run.", positionals: ["RUN", "[MODEL]"],
      options: {
        prompt: { type: "values", placeholder: "TEXT", empty: true, help: "what to continue (may be repeated); default: standard input" },
        tokens: { type: "value", placeholder: "N", help: "at most so many tokens (default 200)" },
        temperature: { type: "value", placeholder: "T", help: "0 takes the most likely token (default 0.8)" },
        "top-k": { type: "value", placeholder: "K", help: "choose among the K most likely" },
        "top-p": { type: "value", placeholder: "P", help: "choose among the smallest set of probability P" },
        stop: { type: "values", placeholder: "TEXT", help: "ends the answer, and is not part of it (may be repeated)" },
        seed: { type: "value", placeholder: "N", help: "same seed, same text (default 0)" },
        device: deviceOption,
      },
      examples: ['slm generate runs/01-quickstart pocket --prompt "The whale"'],
    },
    load: async () => (await import("./commands/generate.ts")).generate,
  },
  {
    spec: {
      name: "verify", summary: "Executes a run again and compares it with what it recorded.", positionals: ["RUN"],
      options: {
        stage: { type: "value", placeholder: "NAME", help: "only this stage, from the results that the run has of what it needs" },
        steps: { type: "value", placeholder: "N", help: "only the first N steps of each training" },
        "allow-read": readOption,
        device: deviceOption,
      },
      details: "Bit by bit in the run's numerics class, within tolerance in another. What differs is named with its first step and tensor. Nothing is changed.",
      examples: ["slm verify runs/npc", "slm verify runs/npc --stage student --steps 200"],
    },
    load: async () => (await import("./commands/verify.ts")).verify,
  },
  {
    spec: {
      name: "diff", summary: "Compares two recipes by meaning, or two runs by what differed and how their losses went.", positionals: ["A", "B"],
      options: { set: setOption, "allow-read": readOption },
      details: "A file is a recipe, a folder is a run. Layout, comments and names are no difference. Exit code 1: there are differences.",
      examples: ["slm diff npc.slm colleague.slm", "slm diff runs/npc runs/slow"],
    },
    load: async () => (await import("./commands/diff.ts")).diff,
  },
  {
    spec: {
      name: "runs", summary: "Lists the runs of a folder's recipes, the latest first.", positionals: ["[FOLDER]"], options: {},
      examples: ["slm runs", "slm runs my-npc --json"],
    },
    load: async () => (await import("./commands/runs.ts")).runs,
  },
  {
    spec: {
      name: "gc", summary: "Shows stored results that no run needs any more, and removes them with --yes.", positionals: ["[FOLDER]"],
      options: {
        yes: { type: "flag", help: "remove them" },
        checkpoints: { type: "flag", help: "also checkpoints of trainings that were stopped" },
      },
      details: "What a run at work holds stays, and so does what the runs that `slm runs` shows need.",
      examples: ["slm gc", "slm gc --yes --checkpoints"],
    },
    load: async () => (await import("./commands/gc.ts")).gc,
  },
  {
    spec: {
      name: "forget", summary: "Deletes everything that was made from an input, and says what.", positionals: ["INPUT"],
      options: {
        in: { type: "value", placeholder: "FOLDER", help: "the folder that the recipe lies in (default: here)" },
        "dry-run": { type: "flag", help: "delete nothing" },
      },
      details: "INPUT is a file, a folder, a pattern as the recipe has it (in quotes), or npm:package/file. Deleted are stored results, checkpoints, whole runs with what they exported, and locks. The input itself is not touched.",
      examples: ["slm forget cases/smith.txt", 'slm forget "cases/*.txt" --dry-run'],
    },
    load: async () => (await import("./commands/forget.ts")).forget,
  },
  {
    spec: {
      name: "compile", summary: "Prints what the compiler made of a recipe, after any phase; or writes a stage as C.", positionals: ["RECIPE"],
      options: {
        after: { type: "value", placeholder: "PHASE", help: "parse, check, graph, transform, fusion, kernels, c, wgsl (default transform)" },
        roofline: { type: "flag", help: "with --after kernels: what each kernel would be limited by on a GPU" },
        stage: { type: "value", placeholder: "NAME", help: "only the stage of this name" },
        emit: { type: "value", placeholder: "FORM", help: "c: write a training or a generation as a folder of C that needs no Node; web: a generation as a page; ts: the whole run as a program of TypeScript" },
        out: { type: "value", placeholder: "PLACE", help: "where that goes (default NAME-FORM, of the stage; TypeScript is printed)" },
        target: { type: "value", placeholder: "FAMILY", help: "its instructions: avx512, avx2, neon, portable (default: this processor's)" },
        device: deviceOption,
        set: setOption, "allow-read": readOption, "allow-net": netOption,
      },
      examples: ["slm compile npc.slm --after graph --stage student", "slm compile npc.slm --emit c --stage student --out student-c"],
    },
    load: async () => (await import("./commands/compile.ts")).compile,
  },
  {
    spec: {
      name: "hash", summary: "Shows the key of a recipe and of each of its stages: of what they mean, not of how it is written.", positionals: ["RECIPE"],
      options: { set: setOption, "allow-net": netOption }, examples: ["slm hash npc.slm"],
    },
    load: async () => (await import("./commands/hash.ts")).hash,
  },
  {
    spec: {
      name: "render", summary: "Prints a recipe with every default written out, with the same keys.", positionals: ["RECIPE"],
      options: { set: setOption, "allow-net": netOption, out: { type: "value", placeholder: "FILE", help: "write it to a file instead of printing it" } }, examples: ["slm render npc.slm", "slm render npc.slm --set lr=1e-3 --out slow.slm"],
      details: "Code that is itself meaning (the bodies of functions, losses and layers) stays as it is. A default that follows other arguments, and would keep\n`with` from following them, is told in a comment.",
    },
    load: async () => (await import("./commands/render.ts")).render,
  },
  {
    spec: {
      name: "bundle", summary: "Writes a recipe with everything it uses as one text that runs anywhere, to the same keys.", positionals: ["RECIPE"],
      options: { set: setOption, "allow-net": netOption, out: { type: "value", placeholder: "FILE", help: "write it to a file instead of printing it" } }, examples: ["slm bundle npc.slm --out npc.bundle.slm"],
      details: "In it are the recipe, its modules, what it uses of the library, and the lock of its last run. Data is not: the lock says which it was.",
    },
    load: async () => (await import("./commands/bundle.ts")).bundle,
  },
  {
    spec: { name: "doctor", summary: "Says which devices are usable here, and what is missing for the others.", positionals: [], options: {}, examples: ["slm doctor"] },
    load: async () => (await import("./commands/doctor.ts")).doctor,
  },
  {
    spec: { name: "help", summary: "Shows all commands, or the page of one.", positionals: ["[COMMAND]"], options: {}, examples: ["slm help run"] },
    load: async () => (await import("./commands/help.ts")).help,
  },
]
