/** Text as it is made, token by token: only what no later token can change. */
import type { Tokenizer } from "../data/tokenizer.ts"

export interface TextStream {
  add(id: number): void
  /** There are no more tokens: what was held back is written. */
  end(): void
}

/**
 * Tells pieces of the text of growing tokens, which joined are the text with `stops` applied. Held back are bytes of a character that is
 * not whole yet and what may be the beginning of a stop text; behind a stop text nothing is told.
 */
export function streamText(tokenizer: Pick<Tokenizer, "decode">, stops: readonly string[], tell: (piece: string) => void): TextStream {
  const ids: number[] = []
  let [told, text, closed] = [0, "", false]
  const tellTo = (end: number): void => {
    if (end > told) tell(text.slice(told, end))
    told = Math.max(told, end)
  }
  return {
    add(id) {
      if (closed) return
      ids.push(id)
      text = tokenizer.decode(ids)
      const stop = firstStop(text, stops)
      closed = stop !== null
      tellTo(stop ?? text.length - held(text, stops))
    },
    end() {
      if (!closed) tellTo(text.length)
      closed = true
    },
  }
}

/** Where the first stop text begins. */
export function firstStop(text: string, stops: readonly string[]): number | null {
  const places = stops.map((stop) => (stop === "" ? -1 : text.indexOf(stop))).filter((place) => place >= 0)
  return places.length === 0 ? null : Math.min(...places)
}

/** How much of the end of a text may still change or be cut off. */
function held(text: string, stops: readonly string[]): number {
  const broken = /\ufffd*$/.exec(text)?.[0].length ?? 0
  const begun = stops.map((stop) => {
    for (let n = Math.min(stop.length - 1, text.length); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n
    return 0
  })
  return Math.max(broken, ...begun)
}
