import { createToken, Lexer } from "chevrotain"
import type { TokenType } from "chevrotain"
import { matchRawString, matchString } from "./strings.ts"

/**
 * Every token type of the language. The label of a type is how the grammar in `spec/1-syntax.md` shows it.
 * Words come in three kinds: reserved ones, contextual ones (`model`, `part`, … are ordinary names wherever the
 * grammar does not ask for them), and plain names. Two categories say where a word may stand: `Name` and `FieldName`.
 */
const abstract = (name: string, label: string, categories: TokenType[] = []): TokenType =>
  createToken({ name, label, pattern: Lexer.NA, categories })

/** May stand after `.` and before `:`: every word, reserved ones too. */
export const FieldName = abstract("FieldName", "field-name")
/** May name a thing. */
export const Name = abstract("Name", "name", [FieldName])
export const BinaryOperator = abstract("BinaryOperator", "binary-operator")
/** `,` or the line break between two entries of a block. */
export const Separator = abstract("Separator", "separator")

export const Word = createToken({ name: "Word", label: "name", pattern: /[A-Za-z_À-ɏͰ-῿぀-퟿][A-Za-z0-9_À-ɏͰ-῿぀-퟿]*/, categories: [Name] })

const word = (name: string, text: string, categories: TokenType[]): TokenType =>
  createToken({ name, label: `"${text}"`, pattern: text, longer_alt: Word, categories })

// ---------------------------------------------------------------- reserved words

export const Let = word("Let", "let", [FieldName])
export const If = word("If", "if", [FieldName])
export const Then = word("Then", "then", [FieldName])
export const Else = word("Else", "else", [FieldName])
export const And = word("And", "and", [FieldName, BinaryOperator])
export const Or = word("Or", "or", [FieldName, BinaryOperator])
export const Not = word("Not", "not", [FieldName])
export const True = word("True", "true", [FieldName])
export const False = word("False", "false", [FieldName])
export const None = word("None", "none", [FieldName])
export const With = word("With", "with", [FieldName])
export const Repeat = word("Repeat", "repeat", [FieldName])

export const reserved: readonly TokenType[] = [Let, If, Then, Else, And, Or, Not, True, False, None, With, Repeat]

// ---------------------------------------------------------------- contextual words

const contextual = (name: string, text: string): TokenType => word(name, text, [Name])

export const Use = contextual("Use", "use")
export const As = contextual("As", "as")
export const Param = contextual("Param", "param")
export const Model = contextual("Model", "model")
export const Layer = contextual("Layer", "layer")
export const Primitive = contextual("Primitive", "primitive")
export const Fn = contextual("Fn", "fn")
export const Optimizer = contextual("Optimizer", "optimizer")
export const Curriculum = contextual("Curriculum", "curriculum")
export const Format = contextual("Format", "format")
export const For = contextual("For", "for")
export const In = contextual("In", "in")
export const Encoding = contextual("Encoding", "encoding")
export const Expect = contextual("Expect", "expect")
export const Export = contextual("Export", "export")
export const Example = contextual("Example", "example")
export const ModuleWord = contextual("ModuleWord", "module")
export const LockWord = contextual("LockWord", "lock")
export const Require = contextual("Require", "require")
export const Part = contextual("Part", "part")
export const Forward = contextual("Forward", "forward")
export const State = contextual("State", "state")
export const Update = contextual("Update", "update")
export const Stage = contextual("Stage", "stage")
export const MapWord = contextual("MapWord", "map")
export const Via = contextual("Via", "via")
export const When = contextual("When", "when")
export const Encode = contextual("Encode", "encode")
export const Decode = contextual("Decode", "decode")
export const At = contextual("At", "at")
export const Into = contextual("Into", "into")

const contextualWords: readonly TokenType[] = [
  Use, As, Param, Model, Layer, Primitive, Fn, Optimizer, Curriculum, Format, For, In, Encoding, Expect, Export, Example, ModuleWord, LockWord,
  Require, Part, Forward, State, Update, Stage, MapWord, Via, When, Encode, Decode, At, Into,
]

const textsOf = (types: readonly TokenType[]): ReadonlySet<string> => new Set(types.map((type) => String(type.PATTERN)))

/** Words that mean something by themselves where a name could stand. */
export const contextualNames: ReadonlySet<string> = textsOf(contextualWords)
export const reservedNames: ReadonlySet<string> = textsOf(reserved)
export const verbNames: ReadonlySet<string> = new Set(["train", "distill", "quantize", "evaluate", "generate", "load", "prune", "merge", "search"])

/** The words that begin an item, for 'did you mean'. */
export const itemWords: readonly string[] = [
  "use", "param", "let", "model", "layer", "primitive", "fn", "optimizer", "curriculum", "format", "encoding", "expect", "export", "example", "module", "lock",
]
export const memberWords: readonly string[] = ["require", "param", "part", "let", "forward"]

/** A stage verb as the lexer sees it: a name. The layout pass makes it a `StageVerb` where a stage follows. */
export const VerbWord = createToken({
  name: "VerbWord", label: "name", pattern: /(?:train|distill|quantize|evaluate|generate|load|prune|merge|search)(?![A-Za-z0-9_])/,
  longer_alt: Word, categories: [Name],
})

// ---------------------------------------------------------------- set by the layout pass (layout.ts)

export const StageVerb = abstract("StageVerb", "stage-verb")
export const Unit = abstract("Unit", "unit")
/** `80%` before a name or a parenthesis on the same line: `80% prose` is `80% * prose`. */
export const Share = abstract("Share", "percentage")
export const Newline = abstract("Newline", "line-break", [Separator])
/** `(` whose `)` is followed by `=>`. */
export const LambdaOpen = abstract("LambdaOpen", '"("')
/** Stands for what was cut out because it was nested too deeply. */
export const Elided = abstract("Elided", "elided")
export const StringStart = abstract("StringStart", '"\\""')
export const StringText = abstract("StringText", "characters")
export const StringEnd = abstract("StringEnd", '"\\""')
export const HoleOpen = abstract("HoleOpen", '"{"')
export const HoleClose = abstract("HoleClose", '"}"')

// ---------------------------------------------------------------- punctuation

const sign = (name: string, text: string, categories: TokenType[] = []): TokenType =>
  createToken({ name, label: `"${text}"`, pattern: text, categories })

export const LCurly = sign("LCurly", "{")
/** `{` that begins a record: `{}` or `{ name: …`. */
export const RecordOpen = abstract("RecordOpen", '"{"', [LCurly])
export const BlockOpen = abstract("BlockOpen", '"{"', [LCurly])
export const RCurly = sign("RCurly", "}")
export const LParen = sign("LParen", "(")
export const RParen = sign("RParen", ")")
export const LSquare = sign("LSquare", "[")
export const RSquare = sign("RSquare", "]")
export const Comma = sign("Comma", ",", [Separator])
export const Colon = sign("Colon", ":")
export const Ellipsis = sign("Ellipsis", "...")
export const DotDot = sign("DotDot", "..", [BinaryOperator])
export const Dot = sign("Dot", ".")
export const FatArrow = sign("FatArrow", "=>")
export const Arrow = sign("Arrow", "->")
export const PipeRight = sign("PipeRight", "|>", [BinaryOperator])
export const Bar = sign("Bar", "|")
export const EqualEqual = sign("EqualEqual", "==", [BinaryOperator])
export const NotEqual = sign("NotEqual", "!=", [BinaryOperator])
export const LessEqual = sign("LessEqual", "<=", [BinaryOperator])
export const GreaterEqual = sign("GreaterEqual", ">=", [BinaryOperator])
export const Less = sign("Less", "<", [BinaryOperator])
export const Greater = sign("Greater", ">", [BinaryOperator])
export const Equals = sign("Equals", "=")
export const Plus = sign("Plus", "+", [BinaryOperator])
export const Minus = sign("Minus", "-", [BinaryOperator])
export const Star = sign("Star", "*", [BinaryOperator])
export const Slash = sign("Slash", "/", [BinaryOperator])
export const Percent = sign("Percent", "%", [BinaryOperator])
export const Caret = sign("Caret", "^", [BinaryOperator])
export const AtSign = sign("AtSign", "@", [BinaryOperator])
export const Ampersand = sign("Ampersand", "&", [BinaryOperator])
export const Question = sign("Question", "?")

// ---------------------------------------------------------------- habits from other languages, mended by the layout pass

export const AndAnd = sign("AndAnd", "&&", [BinaryOperator])
export const OrOr = sign("OrOr", "||", [BinaryOperator])
export const StarStar = sign("StarStar", "**", [BinaryOperator])
export const Bang = sign("Bang", "!")
export const Semicolon = sign("Semicolon", ";")
export const Hash = createToken({ name: "Hash", label: "#", pattern: /#[^\n]*/ })
export const BlockComment = createToken({ name: "BlockComment", label: "/*", pattern: /\/\*[^]*?\*\//, line_breaks: true })
export const QuotedWord = createToken({ name: "QuotedWord", label: "'", pattern: /'[^'\n]*'/ })

// ---------------------------------------------------------------- literals and text between tokens

export const NumberLiteral = createToken({
  name: "NumberLiteral", label: "number",
  pattern: /\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d[\d_]*)?(?:[kMG](?![A-Za-z0-9_]))?%?/,
})
export const RawString = createToken({
  name: "RawString", label: "raw-string", pattern: { exec: matchRawString }, start_chars_hint: ['"'], line_breaks: true,
})
/** A whole `"…"` as the lexer sees it; `lexer.ts` takes it apart into `StringStart … StringEnd`. */
export const QuotedString = createToken({
  name: "QuotedString", label: "string", pattern: { exec: matchString }, start_chars_hint: ['"'], line_breaks: false,
})
export const Sha256 = createToken({ name: "Sha256", label: "sha256", pattern: /sha256:[0-9A-Za-z]{16,}/ })
export const CommentText = createToken({ name: "CommentText", label: "comment", pattern: /\/\/[^\n\r]*/, group: "comments" })
export const Space = createToken({ name: "Space", label: "space", pattern: /[ \t\r\n\uFEFF]+/, group: Lexer.SKIPPED, line_breaks: true })

/** A word that begins another (`for`, `forward`) must not be tried before it. */
function longestFirst(words: readonly TokenType[]): readonly TokenType[] {
  return [...words].sort((a, b) => String(b.PATTERN).length - String(a.PATTERN).length)
}

/** What the lexer matches, in order of preference. */
export const lexed: readonly TokenType[] = [
  Space, CommentText, BlockComment, RawString, QuotedString, NumberLiteral, Sha256, ...longestFirst([...reserved, ...contextualWords]), VerbWord, Word,
  Ellipsis, DotDot, Dot, FatArrow, Arrow, PipeRight, OrOr, Bar, EqualEqual, NotEqual, Bang, LessEqual, GreaterEqual, Less, Greater, Equals,
  LCurly, RCurly, LParen, RParen, LSquare, RSquare, Comma, Colon, Semicolon, Hash, QuotedWord,
  Plus, Minus, StarStar, Star, Slash, Percent, Caret, AtSign, AndAnd, Ampersand, Question,
]

/** What the parser may meet. */
export const vocabulary: readonly TokenType[] = [
  ...lexed, FieldName, Name, BinaryOperator, Separator, StageVerb, Unit, Share, Newline, LambdaOpen, Elided,
  StringStart, StringText, StringEnd, HoleOpen, HoleClose, RecordOpen, BlockOpen,
]

/** Units as they are kept, with the spellings that are accepted. */
export const unitNames: Readonly<Record<string, string>> = {
  steps: "steps", step: "steps", tokens: "tokens", token: "tokens", sequences: "sequences", sequence: "sequences",
  epochs: "epochs", epoch: "epochs", documents: "documents", document: "documents", bytes: "bytes", byte: "bytes",
  KB: "KB", MB: "MB", GB: "GB", ms: "ms", s: "s", min: "min", h: "h",
}
