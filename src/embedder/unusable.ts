/** What an inference child cannot work with, or must not hand on. */

/** Samples that are not numbers. */
export class UnusableInput extends Error {}

/** The graph ran, but gave something that is not what it promises. */
export class UnusableOutput extends Error {}
