import type { IParserErrorMessageProvider } from "chevrotain"
import type { Rule } from "./parser-expressions.ts"
import { TypeParser } from "./parser-types.ts"
import type { Resync } from "./recovery.ts"
import * as t from "./tokens.ts"

/** Rules that go on after a mistake inside them; see `recovery.ts`. */
const resyncs: Readonly<Record<string, Resync>> = {
  item: "line", member: "line", state: "line", update: "line", formatMap: "line", formatBlock: "line", encode: "line", decode: "line",
  require: "line", letStatement: "line", expect: "line", curriculumStage: "line",
  blockResult: "group", interpolation: "group",
  field: "entry", withEntry: "entry", argument: "entry", parameter: "entry", listItem: "entry", importedName: "entry", stateVariable: "entry",
  typeField: "entry", dimension: "entry",
}

/** Messages are made in `explain.ts` from the name of the expected token (here) and the place. */
const messages: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected }) => expected.name,
  buildNotAllInputParsedMessage: () => "EOF",
  buildNoViableAltMessage: ({ customUserDescription }) => customUserDescription ?? "",
  buildEarlyExitMessage: ({ customUserDescription }) => customUserDescription ?? "",
}

/** The grammar: items and members, over the types of `parser-types.ts` and the expressions of `parser-expressions.ts`. */
export class SlmParser extends TypeParser {
  constructor(options: { readonly validate: boolean }) {
    super({ recoveryEnabled: true, maxLookahead: 2, skipValidations: !options.validate, errorMessageProvider: messages, nodeLocationTracking: "onlyOffset" }, resyncs)
    this.performSelfAnalysis()
  }

  module: Rule = this.RULE("module", () => {
    this.OPTION(() => this.SUBRULE(this.item))
    this.MANY(() => {
      this.CONSUME(t.Newline)
      this.OPTION1(() => this.SUBRULE1(this.item))
    })
  })

  // -------------------------------------------------------------- items

  item: Rule = this.RULE("item", () => {
    this.begin()
    this.OR({
      DEF: [
        { ALT: () => this.SUBRULE(this.binding) },
        { ALT: () => this.SUBRULE(this.use) },
        { ALT: () => this.SUBRULE(this.param) },
        { ALT: () => this.SUBRULE(this.letBinding) },
        { ALT: () => this.SUBRULE(this.modelItem) },
        { ALT: () => this.SUBRULE(this.layer) },
        { ALT: () => this.SUBRULE(this.primitive) },
        { ALT: () => this.SUBRULE(this.function) },
        { ALT: () => this.SUBRULE(this.optimizer) },
        { ALT: () => this.SUBRULE(this.curriculum) },
        { ALT: () => this.SUBRULE(this.format) },
        { ALT: () => this.SUBRULE(this.encoding) },
        { ALT: () => this.SUBRULE(this.expect) },
        { ALT: () => this.SUBRULE(this.export) },
        { ALT: () => this.SUBRULE(this.example) },
        { ALT: () => this.SUBRULE(this.carried) },
        { ALT: () => this.SUBRULE(this.lock) },
      ],
      ERR_MSG: "an item",
    })
  })

  binding: Rule = this.RULE("binding", () => {
    this.CONSUME(t.Name)
    this.CONSUME(t.Equals)
    this.SUBRULE(this.expression)
  })

  use: Rule = this.RULE("use", () => {
    this.CONSUME(t.Use)
    this.OR({ DEF: [{ ALT: () => this.SUBRULE(this.modulePath) }, { ALT: () => this.SUBRULE(this.string) }], ERR_MSG: "a module" })
    this.OPTION(() => this.CONSUME(t.Sha256))
    this.CONSUME(t.LCurly)
    this.OPTION1(() => this.SUBRULE(this.importedName))
    this.MANY(() => {
      this.CONSUME(t.Separator)
      this.OPTION2(() => this.SUBRULE1(this.importedName))
    })
    this.CONSUME(t.RCurly)
  })

  carried: Rule = this.RULE("carried", () => {
    this.CONSUME(t.ModuleWord)
    this.OR({ DEF: [{ ALT: () => this.SUBRULE(this.modulePath) }, { ALT: () => this.SUBRULE(this.string) }], ERR_MSG: "a module" })
    this.SUBRULE1(this.string)
  })

  lock: Rule = this.RULE("lock", () => {
    this.CONSUME(t.LockWord)
    this.SUBRULE(this.string)
  })

  modulePath: Rule = this.RULE("modulePath", () => {
    this.CONSUME(t.Name)
    this.MANY(() => {
      this.CONSUME(t.Dot)
      this.CONSUME(t.FieldName)
    })
  })

  importedName: Rule = this.RULE("importedName", () => {
    this.begin()
    this.CONSUME(t.Name)
    this.OPTION(() => {
      this.CONSUME(t.As)
      this.CONSUME1(t.Name, { LABEL: "alias" })
    })
  })

  param: Rule = this.RULE("param", () => {
    this.CONSUME(t.Param)
    this.CONSUME(t.Name)
    this.OPTION(() => {
      this.CONSUME(t.Colon)
      this.SUBRULE(this.type)
    })
    this.CONSUME(t.Equals)
    this.SUBRULE(this.expression)
  })

  letBinding: Rule = this.RULE("letBinding", () => {
    this.CONSUME(t.Let)
    this.CONSUME(t.Name)
    this.CONSUME(t.Equals)
    this.SUBRULE(this.expression)
  })

  modelItem: Rule = this.RULE("modelItem", () => {
    this.CONSUME(t.Model)
    this.CONSUME(t.Name)
    this.OR({
      DEF: [
        {
          ALT: () => {
            this.CONSUME(t.Equals)
            this.SUBRULE(this.expression)
          },
        },
        {
          ALT: () => {
            this.SUBRULE(this.parameters)
            this.SUBRULE(this.members)
          },
        },
      ],
      ERR_MSG: "`=` or parameters",
    })
  })

  layer: Rule = this.RULE("layer", () => {
    this.CONSUME(t.Layer)
    this.CONSUME(t.Name)
    this.SUBRULE(this.parameters)
    this.SUBRULE(this.members)
  })

  primitive: Rule = this.RULE("primitive", () => {
    this.CONSUME(t.Primitive)
    this.SUBRULE(this.signature)
  })

  function: Rule = this.RULE("function", () => {
    this.SUBRULE(this.signature)
    this.OR({
      DEF: [
        {
          ALT: () => {
            this.CONSUME(t.Equals)
            this.SUBRULE(this.expression)
          },
        },
        { ALT: () => this.SUBRULE(this.braces) },
      ],
      ERR_MSG: "`=` or a body",
    })
  })

  members: Rule = this.RULE("members", () => {
    this.CONSUME(t.LCurly)
    this.MANY(() => this.OR([{ ALT: () => this.SUBRULE(this.member) }, { ALT: () => this.CONSUME(t.Newline) }]))
    this.CONSUME(t.RCurly)
  })

  member: Rule = this.RULE("member", () => {
    this.begin()
    this.OR({
      DEF: [
        { ALT: () => this.SUBRULE(this.require) },
        { ALT: () => this.SUBRULE(this.weight) },
        { ALT: () => this.SUBRULE(this.part) },
        { ALT: () => this.SUBRULE(this.letStatement) },
        { ALT: () => this.SUBRULE(this.forward) },
      ],
      ERR_MSG: "a member",
    })
  })

  require: Rule = this.RULE("require", () => {
    this.begin()
    this.CONSUME(t.Require)
    this.SUBRULE(this.expression)
    this.OPTION(() => {
      this.CONSUME(t.Comma)
      this.SUBRULE(this.string)
    })
  })

  weight: Rule = this.RULE("weight", () => {
    this.CONSUME(t.Param)
    this.CONSUME(t.Name)
    this.CONSUME(t.Colon)
    this.SUBRULE(this.type)
    this.CONSUME(t.Equals)
    this.SUBRULE(this.expression)
    this.OPTION(() => this.SUBRULE(this.when))
  })

  part: Rule = this.RULE("part", () => {
    this.CONSUME(t.Part)
    this.CONSUME(t.Name)
    this.CONSUME(t.Equals)
    this.SUBRULE(this.expression)
    this.OPTION(() => this.SUBRULE(this.when))
  })

  when: Rule = this.RULE("when", () => {
    this.CONSUME(t.When)
    this.SUBRULE(this.expression)
  })

  forward: Rule = this.RULE("forward", () => {
    this.CONSUME(t.Forward)
    this.SUBRULE(this.procedure)
  })

  optimizer: Rule = this.RULE("optimizer", () => {
    this.CONSUME(t.Optimizer)
    this.CONSUME(t.Name)
    this.SUBRULE(this.parameters)
    this.CONSUME(t.LCurly)
    this.MANY(() =>
      this.OR([
        { ALT: () => this.SUBRULE(this.require) },
        { ALT: () => this.SUBRULE(this.state) },
        { ALT: () => this.SUBRULE(this.update) },
        { ALT: () => this.CONSUME(t.Newline) },
      ]),
    )
    this.CONSUME(t.RCurly)
  })

  state: Rule = this.RULE("state", () => {
    this.begin()
    this.CONSUME(t.State)
    this.SUBRULE(this.stateVariable)
    this.MANY(() => {
      this.CONSUME(t.Comma)
      this.SUBRULE1(this.stateVariable)
    })
  })

  stateVariable: Rule = this.RULE("stateVariable", () => {
    this.begin()
    this.CONSUME(t.Name)
    this.CONSUME(t.Equals)
    this.SUBRULE(this.expression)
  })

  update: Rule = this.RULE("update", () => {
    this.begin()
    this.CONSUME(t.Update)
    this.SUBRULE(this.procedure)
  })

  curriculum: Rule = this.RULE("curriculum", () => {
    this.CONSUME(t.Curriculum)
    this.CONSUME(t.Name)
    this.SUBRULE(this.parameters)
    this.CONSUME(t.LCurly)
    this.MANY(() =>
      this.OR([
        { ALT: () => this.SUBRULE(this.field) },
        { ALT: () => this.SUBRULE(this.curriculumStage) },
        { ALT: () => this.CONSUME(t.Separator) },
      ]),
    )
    this.CONSUME(t.RCurly)
  })

  curriculumStage: Rule = this.RULE("curriculumStage", () => {
    this.begin()
    this.CONSUME(t.Stage)
    this.CONSUME(t.Name)
    this.SUBRULE(this.fields)
  })

  format: Rule = this.RULE("format", () => {
    this.CONSUME(t.Format)
    this.CONSUME(t.Name)
    this.CONSUME(t.For)
    this.CONSUME1(t.Name, { LABEL: "model" })
    this.CONSUME(t.LCurly)
    this.MANY(() =>
      this.OR([
        { ALT: () => this.SUBRULE(this.formatBlock), IGNORE_AMBIGUITIES: true }, // `map { … }` is a block
        { ALT: () => this.SUBRULE(this.formatMap) },
        { ALT: () => this.CONSUME(t.Newline) },
      ]),
    )
    this.CONSUME(t.RCurly)
  })

  formatBlock: Rule = this.RULE("formatBlock", () => {
    this.begin()
    this.CONSUME(t.Name)
    this.SUBRULE(this.fields)
  })

  formatMap: Rule = this.RULE("formatMap", () => {
    this.begin()
    this.CONSUME(t.MapWord)
    this.SUBRULE(this.operand)
    this.CONSUME(t.FatArrow)
    this.SUBRULE(this.string)
    this.OPTION(() => {
      this.CONSUME(t.Via)
      this.SUBRULE(this.expression)
    })
    this.OPTION1(() => this.SUBRULE(this.when))
  })

  encoding: Rule = this.RULE("encoding", () => {
    this.CONSUME(t.Encoding)
    this.CONSUME(t.Name)
    this.SUBRULE(this.parameters)
    this.CONSUME(t.LCurly)
    this.MANY(() =>
      this.OR([
        { ALT: () => this.SUBRULE(this.field) },
        { ALT: () => this.SUBRULE(this.encode) },
        { ALT: () => this.SUBRULE(this.decode) },
        { ALT: () => this.SUBRULE(this.require) },
        { ALT: () => this.CONSUME(t.Separator) },
      ]),
    )
    this.CONSUME(t.RCurly)
  })

  encode: Rule = this.RULE("encode", () => {
    this.begin()
    this.CONSUME(t.Encode)
    this.SUBRULE(this.procedure)
  })

  decode: Rule = this.RULE("decode", () => {
    this.begin()
    this.CONSUME(t.Decode)
    this.SUBRULE(this.procedure)
  })

  expect: Rule = this.RULE("expect", () => {
    this.begin()
    this.CONSUME(t.Expect)
    this.SUBRULE(this.expression)
  })

  export: Rule = this.RULE("export", () => {
    this.CONSUME(t.Export)
    this.SUBRULE(this.operand)
    this.SUBRULE(this.fields)
  })

  example: Rule = this.RULE("example", () => {
    this.CONSUME(t.Example)
    this.CONSUME(t.Name)
    this.CONSUME(t.LCurly)
    this.MANY(() =>
      this.OR([
        { ALT: () => this.SUBRULE(this.letStatement) },
        { ALT: () => this.SUBRULE(this.expect) },
        { ALT: () => this.CONSUME(t.Newline) },
      ]),
    )
    this.CONSUME(t.RCurly)
  })
}
