/** The longest text that is read, in UTF-16 units. */
export const maxTextLength = 1024 * 1024

/** The most mistakes that one parse reports. */
export const maxErrors = 50

/** Each pass stops taking notes after this many; a text of junk has one for each of its characters. */
export const maxReported = 4 * maxErrors
