/** A server of texts on this machine for tests, with a certificate of its own that nobody else trusts. */
import { createServer } from "node:https"
import type { IncomingMessage, ServerResponse } from "node:http"

const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgta2S7tNz3RHUEtrn
mWQzY8Oce+U0MTKJOXblYzRHFt6hRANCAAT8fuBukLeghmXxh467y4ZFVq6fsDuJ
TvqpinckMewCyxMgDFWZxPv9CVHV+9M3oBgB9zV7PJYD5UlOstNQUJC5
-----END PRIVATE KEY-----
`

/** Trusted by processes that are started with `NODE_EXTRA_CA_CERTS`. */
export const certificate = `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUXQJAqVheGgjWbMjSOxzRoDql2ywwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJc2xtIHRlc3RzMCAXDTI2MTEyNjEyMDUzMloYDzIxMjYxMTAy
MTIwNTMyWjAUMRIwEAYDVQQDDAlzbG0gdGVzdHMwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT8fuBukLeghmXxh467y4ZFVq6fsDuJTvqpinckMewCyxMgDFWZxPv9
CVHV+9M3oBgB9zV7PJYD5UlOstNQUJC5o28wbTAdBgNVHQ4EFgQUoxfyGglw41AM
1aHlNk+2uy530FQwHwYDVR0jBBgwFoAUoxfyGglw41AM1aHlNk+2uy530FQwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgB3JzA3pfrU8jl/0xEa9EhFKwiJoE8tQM+5N6IXSKiugCIGQF
icW5yT3QozQdntxMJXil+oyE82irLgf6vfrshb5l
-----END CERTIFICATE-----
`

export type Answer = string | ((request: IncomingMessage, response: ServerResponse) => void)

/** Answers at `https://localhost:PORT/NAME` until `close`. */
export async function serveTexts(answers: (name: string) => Answer | undefined): Promise<{ readonly origin: string; readonly asked: readonly string[]; close(): void }> {
  const asked: string[] = []
  const server = createServer({ key, cert: certificate }, (request, response) => {
    const name = (request.url ?? "").slice(1)
    asked.push(name)
    const answer = answers(name)
    if (typeof answer === "function") return answer(request, response)
    response.writeHead(answer === undefined ? 404 : 200, { "content-type": "text/plain" })
    response.end(answer ?? "nothing")
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  return { origin: `https://localhost:${port}`, asked, close }
}
