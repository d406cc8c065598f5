/** Where modules stand, as texts: `std.layers`, a path from the recipe's folder, an address of the web. Reads nothing. */

/** The longest address of a module that is looked at. */
const longest = 2048

/** Why a module's name leads nowhere. */
export type WrongPlace = "not https" | "credentials" | "no address" | "outside"

/** A name with a scheme is an address; `C:` of one letter is a drive. */
export function isAddress(name: string): boolean {
  return /^[A-Za-z][A-Za-z0-9+.-]+:/.test(name)
}

/** Where `name` leads that the module at `from` uses by path; the recipe itself stands at "". */
export function placeOf(name: string, from: string): { readonly place: string } | { readonly wrong: WrongPlace } {
  if (isAddress(name) || isAddress(from)) return address(name, isAddress(from) ? from : undefined)
  if (name.startsWith("/") || /^[A-Za-z]:/.test(name) || /[\\\0]/.test(name)) return { wrong: "outside" }
  const parts = from.split("/").slice(0, -1)
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue
    if (part !== "..") parts.push(part)
    else if (parts.pop() === undefined) return { wrong: "outside" }
  }
  return { place: parts.join("/") }
}

function address(name: string, base: string | undefined): { readonly place: string } | { readonly wrong: WrongPlace } {
  if (name.length > longest || !URL.canParse(name, base)) return { wrong: "no address" }
  const url = new URL(name, base)
  if (url.protocol !== "https:") return { wrong: "not https" }
  if (url.username !== "" || url.password !== "") return { wrong: "credentials" }
  url.hash = ""
  return { place: url.href }
}

/**
 * The library that a place belongs to and its version, where the place names one: `v2`, `1.4.0`, `name@3`, a commit in an address; `name@3`
 * in a path, where other numbers are just names. Two versions of one library have equal first parts.
 */
export function versionOf(place: string): { readonly library: string; readonly version: string } | null {
  if (!isAddress(place)) {
    const [, library, version] = /^((?:[^@]*\/)?[^@/]+)@([^/]+)\//.exec(place) ?? []
    return library === undefined || version === undefined ? null : { library, version }
  }
  const { host, pathname } = new URL(place)
  const parts = pathname.split("/")
  const at = parts.findIndex((part) => /^v\d|^\d+\.\d|.@|^[0-9a-f]{40}$|^[0-9a-f]{64}$/.test(part))
  const found = parts[at]
  if (found === undefined) return null
  const cut = found.indexOf("@", 1)
  return { library: [host, ...parts.slice(1, at), ...(cut > 0 ? [found.slice(0, cut)] : [])].join("/"), version: cut > 0 ? found.slice(cut + 1) : found }
}
