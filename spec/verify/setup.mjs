// Installs the foreign programs that the verify tests ask (llama.cpp for the CPU, a GGUF parser) into this folder, once.
// `node spec/verify/setup.mjs` prints nothing when all is there.
import { dirname } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { install } from "../install.mjs"

export const setup = () => install(dirname(fileURLToPath(import.meta.url)), "the verify programs")

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await setup().catch((error) => {
    console.error(error.message)
    process.exitCode = 1
  })
}
