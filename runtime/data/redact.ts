/**
 * Personal data in text, found by scanners that go forward only: from each place they look at a bounded number of characters, so that no
 * text takes more than linear time. What a checksum can tell (cards, IBAN, national numbers) it decides.
 */
import { isIPv4, isIPv6 } from "node:net"
import { personalKinds, type PersonalKind } from "../../compiler/check/text-measures.ts"
import { good, type Result } from "./result.ts"
import type { Column, Rows } from "./rows.ts"
import type { Stepped } from "./steps.ts"
import { ibanLengths } from "./iban.ts"

/** What stands in the place of what was found. */
export const placeholders: Readonly<Record<PersonalKind, string>> = {
  email: "<|email|>", phone: "<|phone|>", card: "<|card|>", iban: "<|iban|>", national_id: "<|national_id|>", ip: "<|ip|>",
}

/** Where what begins at `at` ends; 0: nothing begins there. What lies before `floor` has been replaced. */
type Scanner = (text: string, at: number, floor: number) => number

export interface Redacted { readonly text: string; readonly counts: Readonly<Record<PersonalKind, number>> }

export function redactText(text: string, kinds: readonly PersonalKind[] = personalKinds): Redacted {
  const counts = Object.fromEntries(personalKinds.map((kind) => [kind, 0])) as Record<PersonalKind, number>
  const wanted = order.filter((kind) => kinds.includes(kind))
  let [out, done] = ["", 0]
  for (let at = 0; at < text.length; at++) {
    if (!mayBegin(text, at, done)) continue
    for (const kind of wanted) {
      const end = scanners[kind](text, at, done)
      if (end === 0) continue
      out += text.slice(done, at) + placeholders[kind]
      counts[kind]++
      done = end
      at = end - 1
      break
    }
  }
  return { text: done === 0 ? text : out + text.slice(done), counts }
}

/** Of two that begin at one place the first. */
const order: readonly PersonalKind[] = ["email", "iban", "card", "national_id", "ip", "phone"]

const code = (text: string, at: number): number => (at >= 0 && at < text.length ? text.charCodeAt(at) : 0)
const previous = (text: string, at: number, floor: number): number => (at - 1 < floor ? 0 : code(text, at - 1))
const isDigit = (c: number): boolean => c >= 48 && c <= 57
/** Of scripts that part words by blanks: a number may stand right behind a Chinese word. */
const isLetter = (c: number): boolean => (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || (c >= 0xc0 && c < 0x2e80)
const isPlain = (c: number): boolean => isDigit(c) || isLetter(c)
const isCapital = (c: number): boolean => c >= 65 && c <= 90
const isLocal = (c: number): boolean => isPlain(c) || c === 46 || c === 95 || c === 37 || c === 43 || c === 45

/** Nothing begins inside of a word or a number. */
function mayBegin(text: string, at: number, floor: number): boolean {
  const [here, before] = [code(text, at), previous(text, at, floor)]
  if (!isPlain(here) && here !== 43 && here !== 40 && here !== 58 && here !== 95) return false
  return !isPlain(before) && before !== 95
}

const endsWord = (text: string, at: number): boolean => !isPlain(code(text, at)) && code(text, at) !== 95

// ---------------------------------------------------------------- addresses

function email(text: string, at: number, floor: number): number {
  // The part before @ begins here, and not in its middle.
  if (isLocal(previous(text, at, floor)) || code(text, at) === 46) return 0
  let i = at
  while (i - at < 64 && isLocal(code(text, i))) i++
  if (i === at || code(text, i) !== 64 || code(text, i - 1) === 46) return 0
  let [end, label, labels] = [0, 0, 0]
  for (let j = ++i; j - i < 254; j++) {
    const c = code(text, j)
    if (isPlain(c) || (c === 45 && label > 0)) {
      label++
      continue
    }
    if (label === 0) break
    labels++
    if (labels >= 2 && label >= 2 && isLetter(code(text, j - 1))) end = j
    if (c !== 46) break
    label = 0
  }
  return end
}

function ip(text: string, at: number, floor: number): number {
  const before = previous(text, at, floor)
  if (before === 46 || before === 58) return 0
  let end = at
  while (end - at < 16 && (isDigit(code(text, end)) || (code(text, end) === 46 && isDigit(code(text, end + 1))))) end++
  if (end - at >= 7 && endsWord(text, end) && isIPv4(text.slice(at, end))) return end
  end = at
  const inside = (c: number): boolean => isDigit(c) || c === 46 || c === 58 || (c >= 65 && c <= 70) || (c >= 97 && c <= 102)
  while (end - at <= 45 && inside(code(text, end))) end++
  if (end - at > 45 || end - at < 3 || !endsWord(text, end)) return 0
  while (end > at && (code(text, end - 1) === 46 || (code(text, end - 1) === 58 && code(text, end - 2) !== 58))) end--
  const word = text.slice(at, end)
  // `add::face` is a name of C++ as well: an address of version 6 has a digit.
  return word.includes(":") && /\d/.test(word) && isIPv6(word) ? end : 0
}

// ---------------------------------------------------------------- numbers with a checksum

interface Digits { readonly digits: string; readonly end: number; readonly parts: readonly number[]; readonly marks: string }

/** Whole groups of digits that single `marks` part, at most `most` digits; null: none begin here, or they go on. */
function digitsAt(text: string, at: number, most: number, marks: string): Digits | null {
  let [digits, used, part, end] = ["", "", 0, at]
  const parts: number[] = []
  for (let i = at; i - at < 2 * most + 2; i++) {
    const c = code(text, i)
    if (isDigit(c) && digits.length === most) {
      // This group does not fit: what stood before it may.
      if (parts.length === 0 || used.at(-1) !== " ") return null
      return { digits: digits.slice(0, digits.length - part), end: end - part - (part > 0 ? 1 : 0), parts, marks: used.slice(0, -1) }
    }
    if (isDigit(c)) {
      digits += text[i] ?? ""
      part++
      end = i + 1
    } else if (part > 0 && c !== 0 && marks.includes(String.fromCharCode(c)) && isDigit(code(text, i + 1))) {
      parts.push(part)
      used += String.fromCharCode(c)
      part = 0
    } else break
  }
  if (digits === "" || digits.length > most || !endsWord(text, end)) return null
  return { digits, end, parts: [...parts, part], marks: used }
}

/** Payment cards of 13 to 19 digits, by the check digit of Luhn (ISO/IEC 7812). */
function card(text: string, at: number): number {
  const first = code(text, at)
  if (first < 50 || first > 54) return 0 // 2 to 6: cards; others are airlines, fuel, health
  // The groups behind a card may belong to something else: the most that fit are it.
  for (let most = 19; most >= 13; most--) {
    const found = digitsAt(text, at, most, " -")
    if (found !== null && found.digits.length >= 13 && new Set(found.marks).size <= 1 && found.parts.every((n) => n >= 2 || found.parts.length === 1) && luhn(found.digits) && new Set(found.digits).size > 1) return found.end
  }
  return 0
}

export function luhn(digits: string): boolean {
  let sum = 0
  for (let i = 0; i < digits.length; i++) {
    const d = digits.charCodeAt(digits.length - 1 - i) - 48
    sum += i % 2 === 0 ? d : d > 4 ? 2 * d - 9 : 2 * d
  }
  return digits.length > 0 && sum % 10 === 0
}

/** International bank account numbers, in one piece or in groups of four (ISO 13616). */
function iban(text: string, at: number): number {
  if (!isCapital(code(text, at)) || !isCapital(code(text, at + 1)) || !isDigit(code(text, at + 2)) || !isDigit(code(text, at + 3))) return 0
  const length = ibanLengths[text.slice(at, at + 2)]
  if (length === undefined) return 0
  let [found, i] = ["", at]
  for (; found.length < length; i++) {
    const c = code(text, i)
    if (isDigit(c) || isCapital(c)) found += text[i] ?? ""
    else if (c !== 32 || found.length % 4 !== 0) return 0
  }
  return endsWord(text, i) && mod97(found) === 1 ? i : 0
}

function mod97(iban: string): number {
  let rest = 0
  for (const c of iban.slice(4) + iban.slice(0, 4)) {
    const value = isDigit(c.charCodeAt(0)) ? Number(c) : c.charCodeAt(0) - 55
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97
  }
  return rest
}

/** Social security numbers of the United States as they are written, and by their checksums the CPF (Brazil), DNI and NIE (Spain) and resident numbers (China). */
function nationalId(text: string, at: number): number {
  return socialSecurity(text, at) || cpf(text, at) || dni(text, at) || residentNumber(text, at)
}

function socialSecurity(text: string, at: number): number {
  const found = digitsAt(text, at, 9, "- ")
  if (found === null || found.parts.join() !== "3,2,4" || new Set(found.marks).size !== 1) return 0
  const [area, group, serial] = [found.digits.slice(0, 3), found.digits.slice(3, 5), found.digits.slice(5)]
  return area !== "000" && area !== "666" && area < "900" && group !== "00" && serial !== "0000" ? found.end : 0
}

function cpf(text: string, at: number): number {
  const found = digitsAt(text, at, 11, ".-")
  if (found === null || found.parts.join() !== "3,3,3,2" || found.marks !== "..-" || new Set(found.digits).size === 1) return 0
  const digits = [...found.digits].map(Number)
  const check = (n: number): number => {
    const rest = digits.slice(0, n).reduce((sum, d, i) => sum + d * (n + 1 - i), 0) % 11
    return rest < 2 ? 0 : 11 - rest
  }
  return check(9) === digits[9] && check(10) === digits[10] ? found.end : 0
}

function dni(text: string, at: number): number {
  const letter = "XYZ".indexOf(text[at] ?? " ")
  let i = letter >= 0 ? at + 1 : at
  let digits = letter >= 0 ? String(letter) : ""
  for (; isDigit(code(text, i)) && digits.length < 8; i++) digits += text[i] ?? ""
  if (digits.length !== 8) return 0
  if (code(text, i) === 45) i++
  return text[i] === "TRWAGMYFPDXBNJZSQVHLCKE"[Number(digits) % 23] && endsWord(text, i + 1) ? i + 1 : 0
}

const residentWeights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]

function residentNumber(text: string, at: number): number {
  for (let i = at; i < at + 17; i++) if (!isDigit(code(text, i))) return 0
  if (!endsWord(text, at + 18)) return 0
  const born = text.slice(at + 6, at + 14)
  if (born < "19000101" || born > "20991231" || Number(born.slice(4, 6)) < 1 || Number(born.slice(4, 6)) > 12 || Number(born.slice(6)) < 1 || Number(born.slice(6)) > 31) return 0
  const sum = residentWeights.reduce((total, weight, i) => total + weight * (code(text, at + i) - 48), 0)
  return (text[at + 17] ?? "").toUpperCase() === "10X98765432"[sum % 11] ? at + 18 : 0
}

// ---------------------------------------------------------------- telephones

/** Numbers with + and 8 to 15 digits, of 9 to 11 digits that begin with 0 or are written as in North America, with marks between them, and mobile numbers of China. */
function phone(text: string, at: number, floor: number): number {
  // In the middle of a longer number with marks (an ISBN) nothing begins.
  const before = previous(text, at, floor)
  if (before === 43 || ((before === 45 || before === 46 || before === 47) && isDigit(previous(text, at - 1, floor)))) return 0
  let [digits, groups, i, end, open, bracketed] = ["", 1, at, at, false, false]
  const international = code(text, at) === 43
  if (international) i++
  let found = 0
  for (; i - at < 28; i++) {
    const [c, next] = [code(text, i), code(text, i + 1)]
    if (isDigit(c)) {
      digits += text[i] ?? ""
      end = i + 1
    } else if (c === 40 && !open && !bracketed) open = bracketed = true
    else if (c === 41 && open) open = false
    else if ((c === 32 || c === 45 || c === 46 || c === 47) && (isDigit(next) || (next === 40 && !bracketed)) && code(text, i - 1) !== 32) {
      // Behind a blank something else may begin: the longest number is the one.
      if (c === 32 && !open) found = isPhone(text.slice(at, end), digits, groups, bracketed) ? end : found
      groups++
    } else break
  }
  return !open && endsWord(text, end) && isPhone(text.slice(at, end), digits, groups, bracketed) ? end : found
}

function isPhone(text: string, digits: string, groups: number, bracketed: boolean): boolean {
  if (text.startsWith("+")) return digits.length >= 8 && digits.length <= 15
  if (/^1[3-9]\d{9}$/.test(digits) && groups <= 3 && !bracketed && /^\d{3}([ -]?)\d{4}\1\d{4}$/.test(text)) return true
  const marked = groups >= 2 || bracketed
  if (marked && /^0[1-9]/.test(digits) && digits.length >= 9 && digits.length <= 11) return true
  return marked && groups <= 4 && /^1?[2-9]\d\d[2-9]\d{6}$/.test(digits) && /^(?:1[ .-])?\(?\d{3}\)?[ .-]?\d{3}[ .-]\d{4}$/.test(text)
}

const scanners: Readonly<Record<PersonalKind, Scanner>> = { email, phone, card, iban, national_id: nationalId, ip }

// ---------------------------------------------------------------- rows

/** Replaces what is found in every column of texts and messages. */
export function redact(rows: Rows, kinds: readonly PersonalKind[]): Result<Stepped<Rows>> {
  const totals = new Map<PersonalKind, number>()
  const clean = (text: string): string => {
    const { text: made, counts } = redactText(text, kinds)
    for (const kind of kinds) if (counts[kind] > 0) totals.set(kind, (totals.get(kind) ?? 0) + counts[kind])
    return made
  }
  const columns = new Map([...rows.columns].map(([name, column]): [string, Column] => {
    if (column.is === "string") return [name, { ...column, values: column.values.map(clean) }]
    if (column.is === "chat") return [name, { ...column, values: column.values.map((messages) => messages.map(({ role, content }) => ({ role, content: clean(content) }))) }]
    return [name, column]
  }))
  const counts = kinds.map((kind) => ({ what: `${placeholders[kind]} put in`, count: totals.get(kind) ?? 0 }))
  return good({ value: { ...rows, columns }, report: { step: "redact", before: rows.count, after: rows.count, drops: [], notes: [], counts } })
}
