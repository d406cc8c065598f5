import type { Failure } from "./data/result.ts"

/** Something is larger than allowed. */
export class OverLimit extends Error {
  readonly failure: Failure
  constructor(reason: Failure) {
    super(reason.message)
    this.failure = reason
  }
}
