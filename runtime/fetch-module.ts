/** One text from an `https://` address: bounded in size, time and redirections. */
import { get } from "node:https"
import type { IncomingMessage } from "node:http"
import { maxModuleBytes } from "./module-cache.ts"
import { reasonOf } from "./system-error.ts"

export interface FetchLimits {
  /** For all redirections together. */
  readonly milliseconds: number
  readonly redirections: number
  readonly bytes: number
}

const limits: FetchLimits = { milliseconds: 20_000, redirections: 5, bytes: maxModuleBytes }

/** The text, or why there is none, in words that go on after `ADDRESS cannot be fetched: `. */
export async function fetchText(address: string, { milliseconds, redirections, bytes }: FetchLimits = limits): Promise<{ readonly text: string } | { readonly reason: string }> {
  const signal = AbortSignal.timeout(milliseconds)
  let at = address
  try {
    for (let hop = 0; hop <= redirections; hop++) {
      const response = await ask(at, signal)
      const { statusCode = 0, headers } = response
      if (statusCode < 300 || statusCode >= 400 || headers.location === undefined) return await textOf(response, bytes)
      response.destroy()
      const next = URL.canParse(headers.location, at) ? new URL(headers.location, at) : null
      if (next === null || next.protocol !== "https:" || next.username !== "" || next.password !== "") return { reason: "it leads on to something other than a plain `https://` address" }
      at = next.href
    }
    return { reason: `it leads on more than ${redirections} times` }
  } catch (error) {
    if (signal.aborted) return { reason: `no answer within ${milliseconds / 1000} seconds` }
    return { reason: networkReason(error) }
  }
}

function ask(address: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // A connection of its own, no cookies, no credentials: the server learns the address and nothing else.
    get(address, { signal, agent: false, headers: { "user-agent": "slm", accept: "text/plain, */*;q=0.1", "accept-encoding": "identity" } }, resolve).on("error", reject)
  })
}

async function textOf(response: IncomingMessage, bytes: number): Promise<{ readonly text: string } | { readonly reason: string }> {
  const refuse = (reason: string): { readonly reason: string } => {
    response.destroy()
    return { reason }
  }
  if (response.statusCode !== 200) return refuse(`the server answered with ${response.statusCode ?? "nothing"}`)
  if ((response.headers["content-encoding"] ?? "identity") !== "identity") return refuse("the server packed it, which was not asked for")
  if (Number(response.headers["content-length"] ?? 0) > bytes) return refuse(`it is larger than ${bytes} bytes`)
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of response as AsyncIterable<Uint8Array>) {
    size += piece.length
    if (size > bytes) return refuse(`it is larger than ${bytes} bytes`)
    pieces.push(piece)
  }
  if (!response.complete) return refuse("the connection broke off")
  try {
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(pieces)) }
  } catch {
    return { reason: "it is not UTF-8" }
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no such server", EAI_AGAIN: "the name of the server cannot be looked up", ECONNREFUSED: "the server refuses the connection", ECONNRESET: "the connection broke off",
  ETIMEDOUT: "no answer", EHOSTUNREACH: "the server cannot be reached", ENETUNREACH: "there is no network", DEPTH_ZERO_SELF_SIGNED_CERT: "the server's certificate is signed by nobody that is trusted here",
  SELF_SIGNED_CERT_IN_CHAIN: "the server's certificate is signed by nobody that is trusted here", UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the server's certificate is signed by nobody that is trusted here",
  CERT_HAS_EXPIRED: "the server's certificate has expired", ERR_TLS_CERT_ALTNAME_INVALID: "the server's certificate is for another name",
}

function networkReason(error: unknown): string {
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""
  return reasons[code] ?? reasonOf(error)
}
