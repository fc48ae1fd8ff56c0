/** Reads as much of a Dockerfile as the tests of ours need. */

export interface Instruction {
  readonly stage: string;
  readonly keyword: string;
  readonly text: string;
}

/** The instructions with continued lines joined, each with the stage it is in (`''` before the first). */
export function parseDockerfile(text: string): readonly Instruction[] {
  let stage = '';
  return text
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, keyword = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
      if (keyword === 'FROM') stage = / AS (\S+)$/.exec(rest)?.[1] ?? rest;
      return { stage, keyword, text: rest };
    });
}

export interface Copy {
  readonly stage: string;
  /** A stage's name; undefined = the build context. */
  readonly from: string | undefined;
  readonly sources: readonly string[];
  readonly target: string;
}

/** The COPY instructions, taken apart. */
export function copiesOf(instructions: readonly Instruction[]): readonly Copy[] {
  return instructions
    .filter(({ keyword }) => keyword === 'COPY')
    .map(({ stage, text }) => {
      const words = text.split(/\s+/);
      const paths = words.filter((word) => !word.startsWith('--'));
      const from = words.find((word) => word.startsWith('--from='))?.slice('--from='.length);
      return { stage, from, sources: paths.slice(0, -1), target: paths.at(-1)! };
    });
}
