/** What is wrong with the data or the wishes of an evaluation, in words for the person who started it. */
export class EvaluationError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'EvaluationError';
  }
}
