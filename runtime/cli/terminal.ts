/** Everything the command line writes goes through here: colour and live lines on a terminal, plain lines elsewhere. */
export interface Terminal {
  readonly color: boolean
  /** Whether a line may be redrawn in place. */
  readonly live: boolean
  readonly width: number
  /** A finished line on standard output. */
  line(text?: string): void
  /** A line on standard error: diagnostics and warnings. */
  error(text: string): void
  /** Shows `text` as the line that is being worked on; replaced by the next one. Does nothing where not live. */
  status(text: string): void
  style(name: Style, text: string): string
}

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "cyan"

const codes: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], blue: [34, 39], cyan: [36, 39],
}

export function openTerminal(): Terminal {
  const out = process.stdout
  const color = wantsColor(out.isTTY)
  const live = out.isTTY && process.env["TERM"] !== "dumb"
  const width = out.columns ?? 100
  let shown = false
  const clear = (): void => {
    if (shown) out.write("\r\u001b[2K")
    shown = false
  }
  return {
    color,
    live,
    width,
    line(text = "") {
      clear()
      out.write(text + "\n")
    },
    error(text) {
      clear()
      process.stderr.write(text + "\n")
    },
    status(text) {
      if (!live) return
      clear()
      out.write(clip(text, (out.columns ?? 100) - 1))
      shown = true
    },
    style(name, text) {
      return color ? `\u001b[${codes[name][0]}m${text}\u001b[${codes[name][1]}m` : text
    },
  }
}

function wantsColor(tty: boolean): boolean {
  if (process.env["NO_COLOR"] !== undefined && process.env["NO_COLOR"] !== "") return false
  const force = process.env["FORCE_COLOR"]
  if (force !== undefined) return force !== "0"
  return tty && process.env["TERM"] !== "dumb"
}

/** The first `width` visible characters; colour codes take no room. */
function clip(text: string, width: number): string {
  let visible = 0
  let result = ""
  for (const part of text.split(/(\u001b\[\d+m)/)) {
    if (part.startsWith("\u001b[")) {
      result += part
      continue
    }
    const kept = [...part].slice(0, Math.max(0, width - visible)).join("")
    visible += [...kept].length
    result += kept
  }
  return result
}
