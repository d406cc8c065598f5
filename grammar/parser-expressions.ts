import type { CstNode, TokenType } from "chevrotain"
import { RecoveringParser } from "./recovery.ts"
import * as t from "./tokens.ts"

export type Rule = (idxInCallingRule?: number) => CstNode

/**
 * The rules of expressions; `parser-types.ts` adds types, `parser.ts` items. Operators are parsed flat (`operation`); `precedence.ts`
 * gives them their order. Each rule that a mistake must not escape from begins with `begin()`.
 */
export class ExpressionParser extends RecoveringParser {
  expression: Rule = this.RULE("expression", () => {
    this.OR({
      DEF: [{ ALT: () => this.SUBRULE(this.lambda) }, { ALT: () => this.SUBRULE(this.conditional) }, { ALT: () => this.SUBRULE(this.operation) }],
      IGNORE_AMBIGUITIES: true,
      ERR_MSG: "an expression",
    })
  })

  lambda: Rule = this.RULE("lambda", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.Name) },
      {
        ALT: () => {
          this.CONSUME(t.LambdaOpen)
          this.OPTION(() => this.CONSUME1(t.Name))
          this.MANY(() => {
            this.CONSUME(t.Comma)
            this.OPTION1(() => this.CONSUME2(t.Name))
          })
          this.CONSUME(t.RParen)
        },
      },
    ])
    this.CONSUME(t.FatArrow)
    this.SUBRULE(this.expression)
  })

  conditional: Rule = this.RULE("conditional", () => {
    this.CONSUME(t.If)
    this.SUBRULE(this.expression)
    this.CONSUME(t.Then)
    this.SUBRULE1(this.expression)
    this.CONSUME(t.Else)
    this.SUBRULE2(this.expression)
  })

  operation: Rule = this.RULE("operation", () => {
    this.SUBRULE(this.operand)
    this.MANY(() =>
      this.OR([
        {
          ALT: () => {
            this.CONSUME(t.BinaryOperator, { LABEL: "operator" })
            this.SUBRULE1(this.operand)
          },
        },
        {
          ALT: () => {
            this.CONSUME(t.With, { LABEL: "operator" })
            this.SUBRULE(this.changes)
          },
        },
      ]),
    )
  })

  changes: Rule = this.RULE("changes", () => {
    this.CONSUME(t.LCurly)
    this.OPTION(() => this.SUBRULE(this.withEntry))
    this.MANY(() => {
      this.CONSUME(t.Separator)
      this.OPTION1(() => this.SUBRULE1(this.withEntry))
    })
    this.CONSUME(t.RCurly)
  })

  withEntry: Rule = this.RULE("withEntry", () => {
    this.begin()
    this.OR({
      DEF: [
        { ALT: () => this.SUBRULE(this.field) },
        {
          ALT: () => {
            this.CONSUME(t.At)
            this.SUBRULE(this.operand)
            this.CONSUME(t.Colon)
            this.SUBRULE(this.expression)
          },
        },
      ],
      ERR_MSG: "a field",
    })
  })

  operand: Rule = this.RULE("operand", () => {
    this.MANY(() => this.OR([{ ALT: () => this.CONSUME(t.Minus, { LABEL: "prefix" }) }, { ALT: () => this.CONSUME(t.Not, { LABEL: "prefix" }) }]))
    this.SUBRULE(this.primary)
    this.MANY1({
      GATE: () => this.LA(1).tokenType === t.Dot || this.onSameLine(),
      DEF: () => this.SUBRULE(this.postfix),
    })
  })

  postfix: Rule = this.RULE("postfix", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Dot)
          this.OR1({ DEF: [{ ALT: () => this.CONSUME(t.FieldName) }, { ALT: () => this.SUBRULE(this.selection) }], ERR_MSG: "a name after `.`" })
        },
      },
      { ALT: () => this.SUBRULE(this.arguments) },
      { ALT: () => this.SUBRULE(this.index) },
    ])
  })

  selection: Rule = this.RULE("selection", () => {
    this.CONSUME(t.LCurly)
    this.OPTION(() => this.CONSUME(t.FieldName))
    this.MANY(() => {
      this.CONSUME(t.Separator)
      this.OPTION1(() => this.CONSUME1(t.FieldName))
    })
    this.CONSUME(t.RCurly)
  })

  arguments: Rule = this.RULE("arguments", () => {
    this.CONSUME(t.LParen)
    this.OPTION(() => this.SUBRULE(this.argument))
    this.MANY(() => {
      this.CONSUME(t.Comma)
      this.OPTION1(() => this.SUBRULE1(this.argument))
    })
    this.CONSUME(t.RParen)
  })

  argument: Rule = this.RULE("argument", () => {
    this.begin()
    this.OPTION(() => {
      this.CONSUME(t.FieldName)
      this.CONSUME(t.Colon)
    })
    this.SUBRULE(this.expression)
  })

  index: Rule = this.RULE("index", () => {
    this.CONSUME(t.LSquare)
    this.OR({ DEF: [{ ALT: () => this.CONSUME(t.Star) }, { ALT: () => this.SUBRULE(this.expression) }], ERR_MSG: "an index" })
    this.CONSUME(t.RSquare)
  })

  primary: Rule = this.RULE("primary", () => {
    this.OR({
      DEF: [
        { ALT: () => this.CONSUME(t.Name) },
        {
          ALT: () => {
            this.CONSUME(t.NumberLiteral)
            this.OPTION(() => this.CONSUME(t.Unit))
          },
        },
        { ALT: () => this.SUBRULE(this.share) },
        { ALT: () => this.SUBRULE(this.string) },
        { ALT: () => this.CONSUME(t.True) },
        { ALT: () => this.CONSUME(t.False) },
        { ALT: () => this.CONSUME(t.None) },
        {
          ALT: () => {
            this.CONSUME(t.LParen)
            this.SUBRULE(this.expression)
            this.CONSUME(t.RParen)
          },
        },
        { ALT: () => this.SUBRULE(this.list) },
        { ALT: () => this.SUBRULE(this.braces) },
        { ALT: () => this.SUBRULE(this.repeat) },
        { ALT: () => this.SUBRULE(this.stage) },
        { ALT: () => this.CONSUME(t.Elided) },
      ],
      ERR_MSG: "an expression",
    })
  })

  /** `80% prose`: a part of something, the same as `80% * prose`. */
  share: Rule = this.RULE("share", () => {
    this.CONSUME(t.Share)
    this.OR([
      { ALT: () => this.CONSUME(t.Name) },
      {
        ALT: () => {
          this.CONSUME(t.LParen)
          this.SUBRULE(this.expression)
          this.CONSUME(t.RParen)
        },
      },
    ])
    this.MANY({
      GATE: () => this.LA(1).tokenType === t.Dot || this.onSameLine(),
      DEF: () => this.SUBRULE(this.postfix),
    })
  })

  string: Rule = this.RULE("string", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.RawString) },
      {
        ALT: () => {
          this.CONSUME(t.StringStart)
          this.MANY(() => this.SUBRULE(this.stringPart))
          this.CONSUME(t.StringEnd)
        },
      },
    ])
  })

  stringPart: Rule = this.RULE("stringPart", () => {
    this.OR([{ ALT: () => this.CONSUME(t.StringText) }, { ALT: () => this.SUBRULE(this.interpolation) }])
  })

  interpolation: Rule = this.RULE("interpolation", () => {
    this.begin()
    this.CONSUME(t.HoleOpen)
    this.SUBRULE(this.expression)
    this.CONSUME(t.HoleClose)
  })

  list: Rule = this.RULE("list", () => {
    this.CONSUME(t.LSquare)
    this.OPTION(() => this.SUBRULE(this.listItem))
    this.OPTION1(() => this.SUBRULE(this.generator))
    this.MANY(() => {
      this.CONSUME(t.Comma)
      this.OPTION2(() => this.SUBRULE1(this.listItem))
    })
    this.CONSUME(t.RSquare)
  })

  listItem: Rule = this.RULE("listItem", () => {
    this.begin()
    this.SUBRULE(this.expression)
  })

  generator: Rule = this.RULE("generator", () => {
    this.CONSUME(t.For)
    this.CONSUME(t.Name)
    this.CONSUME(t.In)
    this.SUBRULE(this.expression)
    this.OPTION(() => {
      this.CONSUME(t.If)
      this.SUBRULE1(this.expression)
    })
  })

  braces: Rule = this.RULE("braces", () => {
    this.OR([{ ALT: () => this.SUBRULE(this.record) }, { ALT: () => this.SUBRULE(this.block) }])
  })

  record: Rule = this.RULE("record", () => {
    this.CONSUME(t.RecordOpen)
    this.OPTION(() => this.SUBRULE(this.field))
    this.MANY(() => {
      this.CONSUME(t.Separator)
      this.OPTION1(() => this.SUBRULE1(this.field))
    })
    this.CONSUME(t.RCurly)
  })

  block: Rule = this.RULE("block", () => {
    this.CONSUME(t.BlockOpen)
    this.MANY(() => this.OR([{ ALT: () => this.SUBRULE(this.letStatement) }, { ALT: () => this.CONSUME(t.Separator) }]))
    this.SUBRULE(this.blockResult)
  })

  blockResult: Rule = this.RULE("blockResult", () => {
    this.begin()
    this.SUBRULE(this.expression)
    this.OPTION(() => this.CONSUME(t.Separator))
    this.CONSUME(t.RCurly)
  })

  letStatement: Rule = this.RULE("letStatement", () => {
    this.begin()
    this.CONSUME(t.Let)
    this.CONSUME(t.Name)
    this.CONSUME(t.Equals)
    this.SUBRULE(this.expression)
  })

  fields: Rule = this.RULE("fields", () => {
    this.CONSUME(t.LCurly)
    this.OPTION(() => this.SUBRULE(this.field))
    this.MANY(() => {
      this.CONSUME(t.Separator)
      this.OPTION1(() => this.SUBRULE1(this.field))
    })
    this.CONSUME(t.RCurly)
  })

  field: Rule = this.RULE("field", () => {
    this.begin()
    this.CONSUME(t.FieldName)
    this.CONSUME(t.Colon)
    this.SUBRULE(this.expression)
  })

  repeat: Rule = this.RULE("repeat", () => {
    this.CONSUME(t.Repeat)
    this.SUBRULE(this.operation)
    this.OPTION(() => {
      this.CONSUME(t.As)
      this.CONSUME(t.Name)
    })
    this.SUBRULE(this.braces)
  })

  stage: Rule = this.RULE("stage", () => {
    this.CONSUME(t.StageVerb)
    this.OPTION({ GATE: () => !isCurly(this.LA(1).tokenType), DEF: () => this.SUBRULE(this.operand) })
    this.OPTION1(() => {
      this.CONSUME(t.Into)
      this.SUBRULE1(this.operand)
    })
    this.SUBRULE(this.fields)
  })
}

function isCurly(type: TokenType): boolean {
  return type === t.RecordOpen || type === t.BlockOpen || type === t.LCurly
}
