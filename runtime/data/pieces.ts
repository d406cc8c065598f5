import { bad, failure, good, type Result } from "./result.ts"
import { contentOf, pieceCounts, pieceMarkup, type Rows } from "./rows.ts"

/** A stretch of a row's text that is encoded by itself. */
export interface PieceText {
  readonly text: string
  /** Control tokens in it are control tokens. */
  readonly markup: boolean
  /** Its tokens are targets. */
  readonly counts: boolean
}

export interface PieceTexts {
  whole(row: number): string
  pieces(row: number): readonly PieceText[]
}

/** The texts of rows as they are encoded: one piece per row, or the pieces of a rendered conversation. */
export function pieceTexts(rows: Rows): Result<PieceTexts> {
  const content = contentOf(rows)
  if (!content.ok) return content
  if (content.value.is === "chat") return bad(failure("SLM3124", "conversations have no text yet", "render them first: `|> chat(template: \"chatml\")`"))
  const { values } = content.value
  const dialogue = rows.dialogue
  const whole = (row: number): string => values[row] ?? ""
  if (dialogue === null) return good({ whole, pieces: (row) => [{ text: whole(row), markup: true, counts: true }] })
  return good({
    whole,
    pieces(row) {
      const ends = dialogue.pieces[row] ?? new Int32Array(0)
      const pieces: PieceText[] = []
      for (let i = 0, start = 0; i + 1 < ends.length; i += 2) {
        const end = ends[i] ?? start
        const flags = ends[i + 1] ?? 0
        pieces.push({ text: whole(row).slice(start, end), markup: (flags & pieceMarkup) !== 0, counts: (flags & pieceCounts) !== 0 })
        start = end
      }
      return pieces
    },
  })
}
