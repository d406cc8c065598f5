/** Texts that grow at the same time, shown one after the other: the first as it grows, the next from where it is by then. */
export interface LiveTexts {
  readonly add: (index: number, piece: string, last: boolean) => void
  /** Shows what is there of all that have not come to their end. */
  readonly end: () => void
}

export interface LivePage {
  readonly begin: (index: number) => void
  readonly write: (piece: string) => void
  readonly finish: () => void
}

export function showInOrder(count: number, page: LivePage): LiveTexts {
  const waiting = Array.from({ length: count }, () => ({ text: "", last: false }))
  let [shown, begun] = [0, false]
  const advance = (): void => {
    for (let at = waiting[shown]; at !== undefined; at = waiting[shown]) {
      if (!begun) page.begin(shown)
      begun = true
      if (at.text !== "") page.write(at.text)
      at.text = ""
      if (!at.last) return
      page.finish()
      ;[shown, begun] = [shown + 1, false]
    }
  }
  return {
    add(index, piece, last) {
      const at = waiting[index]
      if (at === undefined) return
      at.text += piece
      at.last ||= last
      advance()
    },
    end() {
      for (const at of waiting) at.last = true
      advance()
    },
  }
}
