import { CstParser, MismatchedTokenException, NoViableAltException } from "chevrotain"
import type { IParserConfig, IRecognitionException, IToken, TokenType } from "chevrotain"
import { closesGroup, placeOf } from "./place.ts"
import { maxErrors } from "./limits.ts"
import * as t from "./tokens.ts"

/**
 * Where a rule goes on after a mistake inside it: at the end of the entry that it began (`,`, line break or closing
 * bracket), of its line, or after the closing bracket of its group. Chevrotain's own resynchronisation looks for
 * the next token of a follow set and does not know about brackets, so that one mistake in a nested block makes several.
 */
export type Resync = "entry" | "line" | "group"

/** What of Chevrotain's engine the overrides below use; not in its public types (version 11.2). */
interface Engine {
  readonly RULE_STACK_IDX: number
  readonly errorMessageProvider: NonNullable<IParserConfig["errorMessageProvider"]>
  readonly _errors: readonly IRecognitionException[]
  currIdx: number
  readonly tokVector: readonly IToken[]
  readonly tokVectorLength: number // without the sentinels at the end of `tokVector`
  tokenMatcher(token: IToken, type: TokenType): boolean
  getCurrRuleFullName(): string
  SAVE_ERROR(error: IRecognitionException): IRecognitionException
}

export class RecoveringParser extends CstParser {
  /** For each rule on the stack that resynchronises, the index of its first token. */
  private readonly starts: number[] = []
  private readonly resyncs: Readonly<Record<string, Resync>>

  constructor(config: IParserConfig, resyncs: Readonly<Record<string, Resync>>) {
    super([...t.vocabulary], config)
    this.resyncs = resyncs
  }

  private engine(): Engine {
    return this as unknown as Engine
  }

  /** First statement of every rule in `resyncs`. */
  protected begin(): void {
    const engine = this.engine()
    this.starts[engine.RULE_STACK_IDX] = engine.currIdx + 1
  }

  /** Whether the next token is on the line of the one before it. */
  protected onSameLine(): boolean {
    const next = this.LA(1)
    return next.tokenType.name === "EOF" || !placeOf(next).first
  }

  // ------------------------------------------------------------ overrides of Chevrotain's recovery

  /** A guessed or skipped token makes a second mistake of one; the rest of the entry is skipped instead. */
  protected override canTokenTypeBeInsertedInRecovery(): boolean {
    return false
  }

  protected override canTokenTypeBeDeletedInRecovery(): boolean {
    return false
  }

  /** Only insertion would need these, and the walk that finds them recurses through the whole rule stack. */
  getFollowsForInRuleRecovery(): TokenType[] {
    return []
  }

  findReSyncTokenType(): TokenType {
    return t.Newline // not used: `reSyncTo` knows the place
  }

  isInCurrentRuleReSyncSet(): boolean {
    const engine = this.engine()
    return engine.RULE_STACK_IDX === 0 || this.resyncs[engine.getCurrRuleFullName()] !== undefined
  }

  reSyncTo(): IToken[] {
    const engine = this.engine()
    const kind = this.resyncs[engine.getCurrRuleFullName()]
    const start = this.starts[engine.RULE_STACK_IDX]
    const first = start === undefined ? undefined : engine.tokVector[start]
    if (this.exhausted() || engine.RULE_STACK_IDX === 0 || kind === undefined || start === undefined) engine.currIdx = this.inputLength() - 1
    else if (first !== undefined && start < this.inputLength()) {
      const place = placeOf(first)
      const end = kind === "entry" ? place.entryEnd : kind === "line" ? place.lineEnd : place.groupEnd + 1
      engine.currIdx = Math.min(Math.max(engine.currIdx, end - 1), this.inputLength() - 1)
    }
    return []
  }

  /** Chevrotain lists every path that could have been taken, which takes a millisecond; the messages need none of them. */
  raiseNoAltException(_occurrence: number, expected: string | undefined): never {
    throw this.engine().SAVE_ERROR(new NoViableAltException(expected ?? "", this.LA(1), this.LA(0)))
  }

  /** In a list of entries: reports what stands there and goes on with the next entry. */
  tryInRepetitionRecovery(rule: (...args: unknown[]) => void, args: unknown[], lookahead: () => boolean, expected: TokenType): void {
    const engine = this.engine()
    const next = this.LA(1)
    if (next.tokenType.name === "EOF") return
    const message = engine.errorMessageProvider.buildMismatchTokenMessage({ expected, actual: next, previous: this.LA(0), ruleName: engine.getCurrRuleFullName() })
    engine.SAVE_ERROR(new MismatchedTokenException(message, next, this.LA(0)))
    const byLine = engine.RULE_STACK_IDX === 0 || expected === t.RCurly
    for (;;) {
      const here = this.LA(1)
      if (here.tokenType.name === "EOF" || engine.tokenMatcher(here, expected)) return
      if (lookahead.call(this)) return rule.apply(this, args)
      if (this.exhausted()) return void (engine.currIdx = this.inputLength() - 1)
      const place = placeOf(here)
      const end = byLine ? place.lineEnd : place.entryEnd
      const index = engine.currIdx + 1
      if (end > index) engine.currIdx = end - 1
      else if (closesGroup(here)) return
      else engine.currIdx = index
    }
  }

  shouldInRepetitionRecoveryBeTried(expected: TokenType, _index: number, notStuck: boolean | undefined): boolean {
    return notStuck !== false && !this.engine().tokenMatcher(this.LA(1), expected)
  }

  private exhausted(): boolean {
    return this.engine()._errors.length > maxErrors
  }

  private inputLength(): number {
    return this.engine().tokVectorLength
  }
}
