// Installs jax-js into this folder, once.
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { install } from "../../../spec/install.mjs"

export const setup = () => install(dirname(fileURLToPath(import.meta.url)), "jax-js")
