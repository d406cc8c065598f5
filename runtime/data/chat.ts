import { bad, failure, good, type Result } from "./result.ts"
import { pickRows, pieceCounts, pieceMarkup, withColumn, type Message, type Rows } from "./rows.ts"
import type { TokenSet } from "./encode.ts"
import type { Tokenizer } from "./tokenizer.ts"
import { dropCounter, type Stepped } from "./steps.ts"

/** How a conversation becomes text. Contents are trimmed, so that markup and content never share a token. */
export interface ChatTemplate {
  readonly name: string
  /** Control tokens, to be declared to the tokenizer. */
  readonly special: readonly string[]
  /** Ends a message; counts in the loss after an answer, and stops generation. */
  readonly endOfTurn: string
  readonly beforeRole: string
  readonly afterRole: string
  readonly afterTurn: string
}

const templates: readonly ChatTemplate[] = [
  {
    name: "chatml", special: ["<|im_start|>", "<|im_end|>"],
    beforeRole: "<|im_start|>", afterRole: "\n", endOfTurn: "<|im_end|>", afterTurn: "\n",
  },
  // Llama 3's headers, without its mark at the beginning of the text.
  {
    name: "llama", special: ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    beforeRole: "<|start_header_id|>", afterRole: "<|end_header_id|>\n\n", endOfTurn: "<|eot_id|>", afterTurn: "",
  },
]

export function chatTemplate(name: string): Result<ChatTemplate> {
  const found = templates.find((t) => t.name === name)
  if (found !== undefined) return good(found)
  return bad(failure("SLM3124", `there is no chat template \`${name}\``, `templates are ${templates.map((t) => `\`${t.name}\``).join(", ")}`))
}

interface Piece { readonly text: string; readonly flags: number }

function piecesOf(messages: readonly Message[], template: ChatTemplate, system: string | null): Piece[] {
  const pieces: Piece[] = []
  const add = (text: string, flags: number): void => {
    const last = pieces.at(-1)
    if (text === "") return
    if (last !== undefined && last.flags === flags) pieces[pieces.length - 1] = { text: last.text + text, flags }
    else pieces.push({ text, flags })
  }
  for (const message of withSystem(messages, system)) {
    const counts = message.role === "assistant" ? pieceCounts : 0
    add(template.beforeRole + message.role + template.afterRole, pieceMarkup)
    add(message.content.trim(), counts)
    add(template.endOfTurn, pieceMarkup | counts)
    add(template.afterTurn, pieceMarkup)
  }
  return pieces
}

function withSystem(messages: readonly Message[], system: string | null): readonly Message[] {
  return system === null || messages[0]?.role === "system" ? messages : [{ role: "system", content: system }, ...messages]
}

export interface RenderChatOptions {
  readonly system?: string | null
  readonly prompt?: boolean
}

/** A conversation as text; `prompt` adds the beginning of an answer, for generation. */
export function renderChat(messages: readonly Message[], template: ChatTemplate, options: RenderChatOptions = {}): string {
  const text = piecesOf(messages, template, options.system ?? null).map((p) => p.text).join("")
  return options.prompt === true ? `${text}${template.beforeRole}assistant${template.afterRole}` : text
}

/** The template as Jinja, for `tokenizer_config.json` and GGUF's `tokenizer.chat_template`: renders what `renderChat` does. */
export function jinjaTemplate(template: ChatTemplate, system: string | null = null): string {
  const turn = (role: string, content: string) =>
    `{{ ${quoted(template.beforeRole)} + ${role} + ${quoted(template.afterRole)} + ${content} + ${quoted(template.endOfTurn + template.afterTurn)} }}`
  const preface = system === null ? "" : `{% if loop.first and message['role'] != 'system' %}${turn("'system'", quoted(system.trim()))}{% endif %}`
  return `{% for message in messages %}${preface}${turn("message['role']", "(message['content'] | trim)")}{% endfor %}`
    + `{% if add_generation_prompt %}{{ ${quoted(`${template.beforeRole}assistant${template.afterRole}`)} }}{% endif %}`
}

export interface ExportedChat {
  /** The token that ends an answer; null where the tokenizer lacks it. */
  readonly endOfTurn: number | null
  readonly jinja: string
}

/** What exports need to know of the conversations a model learned from (`chat` of a token set). */
export function chatForExport(chat: NonNullable<TokenSet["chat"]>, tokenizer: Pick<Tokenizer, "special">): Result<ExportedChat> {
  const template = chatTemplate(chat.template)
  if (!template.ok) return template
  const endOfTurn = tokenizer.special.find((t) => t.text === template.value.endOfTurn)?.id ?? null
  return good({ endOfTurn, jinja: jinjaTemplate(template.value, chat.system) })
}

function quoted(text: string): string {
  return `'${text.replace(/\\/g, "\\\\").replace(/'/g, "\\'").replace(/\n/g, "\\n")}'`
}

export interface ChatOptions {
  readonly template?: string
  /** A system message for conversations that have none. */
  readonly system?: string | null
}

/** Renders a column of messages into a column `text`; answers and the token that ends them count in the loss. */
export function chat(rows: Rows, options: ChatOptions = {}): Result<Stepped<Rows>> {
  const template = chatTemplate(options.template ?? "chatml")
  if (!template.ok) return template
  if (rows.dialogue !== null) return bad(failure("SLM3124", "the conversations are rendered already"))
  const conversations = [...rows.columns.values()].flatMap((column) => (column.is === "chat" ? [column.values] : []))
  const [content] = conversations
  if (content === undefined || conversations.length > 1) {
    return bad(failure("SLM3124", content === undefined ? "the rows have no column of messages" : "the rows have more than one column of messages", "read one column as messages: `fields: { messages: \"chat\" }`"))
  }
  const system = options.system ?? null
  const counter = dropCounter()
  const kept: number[] = []
  const values: string[] = []
  const ends: Int32Array[] = []
  let quoting = 0
  for (const [row, messages] of content.entries()) {
    if (!messages.some((m) => m.role === "assistant")) {
      counter.drop("no answer to learn from", rows, row, messages.map((m) => `${m.role}: ${m.content}`).join(" | "))
      continue
    }
    if (messages.some((m) => template.value.special.some((s) => m.content.includes(s)))) quoting++
    const pieces = piecesOf(messages, template.value, system)
    kept.push(row)
    values.push(pieces.map((p) => p.text).join(""))
    ends.push(endsOf(pieces))
  }
  if (kept.length === 0) return bad(failure("SLM3116", "no conversation has an answer to learn from", "answers have the role `assistant`"))
  const dialogue = { template: template.value.name, system, special: template.value.special, pieces: ends }
  const notes = quoting > 0 ? [`rows that quote control tokens of the template, which are encoded as plain text: ${quoting}`] : []
  return good({
    value: { ...withColumn(pickRows(rows, kept), "text", { is: "string", values }), dialogue },
    report: { step: `chat (${template.value.name})`, before: rows.count, after: kept.length, drops: counter.drops(), notes },
  })
}

function endsOf(pieces: readonly Piece[]): Int32Array {
  const out = new Int32Array(2 * pieces.length)
  let end = 0
  for (const [i, piece] of pieces.entries()) {
    end += piece.text.length
    out[2 * i] = end
    out[2 * i + 1] = piece.flags
  }
  return out
}
