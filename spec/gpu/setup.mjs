// Installs Dawn into this folder, once.
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { install } from "../install.mjs"

export const setup = () => install(dirname(fileURLToPath(import.meta.url)), "Dawn (npm webgpu)")
