// Writes dist/types/: the declarations that the library's entry needs, for TypeScript users of the package.
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

process.chdir(fileURLToPath(new URL("..", import.meta.url)))
const all = mkdtempSync(join(tmpdir(), "slm-types-"))
try {
  const config = { extends: join(process.cwd(), "tsconfig.json"), compilerOptions: { noEmit: false, declaration: true, emitDeclarationOnly: true, rootDir: process.cwd(), outDir: all, typeRoots: [join(process.cwd(), "node_modules/@types")] }, include: [], files: [join(process.cwd(), "runtime/index.ts")] }
  writeFileSync(join(all, "tsconfig.json"), JSON.stringify(config))
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc")
  execFileSync(process.execPath, [tsc, "-p", join(all, "tsconfig.json")], { stdio: "inherit" })
  rmSync("dist/types", { recursive: true, force: true })
  keep("runtime/index.d.ts", new Set())
} finally {
  rmSync(all, { recursive: true, force: true })
}

// Copies a declaration and what it imports. Specifiers end in `.js`, as users' compilers expect.
function keep(file, seen) {
  if (seen.has(file)) return
  seen.add(file)
  const text = readFileSync(join(all, file), "utf8")
  for (const [, path] of text.matchAll(/(?:from |import\()"(\.[^"]+)\.ts"/g)) keep(join(dirname(file), `${path}.d.ts`), seen)
  const target = join("dist/types", file)
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, text.replace(/((?:from |import\()"\.[^"]+)\.ts"/g, '$1.js"'))
}
