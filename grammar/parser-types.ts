import { ExpressionParser } from "./parser-expressions.ts"
import type { Rule } from "./parser-expressions.ts"
import * as t from "./tokens.ts"

/** Types, and what is written with them: parameters, results, signatures. */
export abstract class TypeParser extends ExpressionParser {
  signature: Rule = this.RULE("signature", () => {
    this.CONSUME(t.Fn)
    this.CONSUME(t.Name)
    this.SUBRULE(this.parameters)
    this.OPTION(() => this.SUBRULE(this.returns))
  })

  /** Parameters, result and body: what follows `forward`, `update`, `encode` and `decode`. */
  procedure: Rule = this.RULE("procedure", () => {
    this.SUBRULE(this.parameters)
    this.OPTION(() => this.SUBRULE(this.returns))
    this.SUBRULE(this.braces)
  })

  returns: Rule = this.RULE("returns", () => {
    this.CONSUME(t.Arrow)
    this.SUBRULE(this.type)
  })

  parameters: Rule = this.RULE("parameters", () => {
    this.CONSUME(t.LParen)
    this.OPTION(() => this.SUBRULE(this.parameter))
    this.MANY(() => {
      this.CONSUME(t.Comma)
      this.OPTION1(() => this.SUBRULE1(this.parameter))
    })
    this.CONSUME(t.RParen)
  })

  parameter: Rule = this.RULE("parameter", () => {
    this.begin()
    this.OPTION(() => this.CONSUME(t.Ellipsis))
    this.CONSUME(t.Name)
    this.OPTION1(() => {
      this.CONSUME(t.Colon)
      this.SUBRULE(this.type)
    })
    this.OPTION2(() => {
      this.CONSUME(t.Equals)
      this.SUBRULE(this.expression)
    })
  })

  type: Rule = this.RULE("type", () => {
    this.SUBRULE(this.typeTerm)
    this.MANY(() => {
      this.CONSUME(t.Bar)
      this.SUBRULE1(this.typeTerm)
    })
    this.OPTION(() => this.CONSUME(t.Question))
  })

  typeTerm: Rule = this.RULE("typeTerm", () => {
    this.OR({
      DEF: [
        { ALT: () => this.SUBRULE(this.namedType) },
        { ALT: () => this.SUBRULE(this.functionType) },
        {
          ALT: () => {
            this.CONSUME(t.LSquare)
            this.SUBRULE(this.type)
            this.CONSUME(t.RSquare)
          },
        },
        { ALT: () => this.SUBRULE(this.recordType) },
        { ALT: () => this.CONSUME(t.Elided) },
      ],
      ERR_MSG: "a type",
    })
  })

  namedType: Rule = this.RULE("namedType", () => {
    this.CONSUME(t.Name)
    this.OPTION(() => {
      this.CONSUME(t.LParen)
      this.SUBRULE(this.expression)
      this.CONSUME(t.RParen)
    })
    this.OPTION1(() => {
      this.CONSUME(t.LSquare)
      this.OPTION2(() => this.SUBRULE(this.dimension))
      this.MANY(() => {
        this.CONSUME(t.Comma)
        this.OPTION3(() => this.SUBRULE1(this.dimension))
      })
      this.CONSUME(t.RSquare)
    })
  })

  dimension: Rule = this.RULE("dimension", () => {
    this.begin()
    this.OR([{ ALT: () => this.CONSUME(t.DotDot) }, { ALT: () => this.SUBRULE(this.expression) }])
  })

  functionType: Rule = this.RULE("functionType", () => {
    this.CONSUME(t.LParen)
    this.OPTION(() => this.SUBRULE(this.type))
    this.MANY(() => {
      this.CONSUME(t.Comma)
      this.OPTION1(() => this.SUBRULE1(this.type))
    })
    this.CONSUME(t.RParen)
    this.OPTION2(() => this.SUBRULE(this.returns))
  })

  recordType: Rule = this.RULE("recordType", () => {
    this.CONSUME(t.LCurly)
    this.OPTION(() => this.SUBRULE(this.typeField))
    this.MANY(() => {
      this.CONSUME(t.Separator)
      this.OPTION1(() => this.SUBRULE1(this.typeField))
    })
    this.CONSUME(t.RCurly)
  })

  typeField: Rule = this.RULE("typeField", () => {
    this.begin()
    this.CONSUME(t.FieldName)
    this.CONSUME(t.Colon)
    this.SUBRULE(this.type)
  })
}
