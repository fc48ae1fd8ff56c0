/** How the command line talks: results on standard output, everything else on standard error. */
import { SingleBar } from 'cli-progress';

/** Prints a result: one JSON line with `--json`, else `text`. */
export function printResult(json: boolean, body: unknown, text: string): void {
  process.stdout.write(`${json ? JSON.stringify(body) : text}\n`);
}

/** Prints a remark for people; nothing with `--json`. */
export function remark(json: boolean, text: string): void {
  if (!json) process.stderr.write(`${text}\n`);
}

export interface SpeechProgress {
  update(netSpeechSeconds: number, score: number | undefined): void;
  stop(): void;
}

/**
 * Progress of a verification: a bar of speech heard on a terminal, a line per whole second of speech elsewhere, nothing
 * when `quiet`.
 */
export function speechProgress(quiet: boolean, maxSeconds: number): SpeechProgress {
  if (quiet) return { update: () => undefined, stop: () => undefined };
  if (!process.stderr.isTTY) return lineProgress();
  const bar = new SingleBar({
    format: '  listening [{bar}] {speech} s of speech, score so far {score}',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: false,
  });
  bar.start(maxSeconds, 0, { speech: '0.0', score: '-' });
  return {
    update: (seconds, score) =>
      bar.update(Math.min(seconds, maxSeconds), { speech: seconds.toFixed(1), score: formatScore(score) }),
    stop: () => bar.stop(),
  };
}

function lineProgress(): SpeechProgress {
  let shown = '';
  return {
    update: (seconds, score) => {
      const line = `  ${Math.floor(seconds)} s of speech, score so far ${formatScore(score)}`;
      if (line !== shown) process.stderr.write(`${line}\n`);
      shown = line;
    },
    stop: () => undefined,
  };
}

export interface DownloadProgress {
  readonly update: (received: number, total: number | undefined) => void;
  readonly stop: () => void;
}

/** Progress of a download: a bar on a terminal, a line per tenth elsewhere, nothing when `quiet`. */
export function downloadProgress(quiet: boolean, expectedBytes: number | undefined): DownloadProgress {
  if (quiet) return { update: () => undefined, stop: () => undefined };
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  if (!process.stderr.isTTY) {
    let shown = 0;
    return {
      update: (received, total) => {
        const whole = total ?? expectedBytes;
        const tenths = whole ? Math.floor((10 * received) / whole) : 0;
        if (tenths > shown) process.stderr.write(`  ${tenths * 10} % of ${megabytes(whole ?? 0)} MB\n`);
        shown = tenths;
      },
      stop: () => undefined,
    };
  }
  const bar = new SingleBar({
    format: '  [{bar}] {done} of {whole} MB',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: false,
  });
  bar.start(expectedBytes ?? 0, 0, { done: '0.0', whole: expectedBytes ? megabytes(expectedBytes) : '?' });
  return {
    update: (received, total) => {
      if (total !== undefined) bar.setTotal(total);
      bar.update(received, { done: megabytes(received), ...(total === undefined ? {} : { whole: megabytes(total) }) });
    },
    stop: () => bar.stop(),
  };
}

/** A score as people read it, `-` when there is none yet. */
export function formatScore(score: unknown): string {
  return typeof score === 'number' ? score.toFixed(3) : '-';
}

/** Rows as an aligned table with a header line. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  return [header, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export interface CountProgress<Step extends string> {
  update(step: Step, done: number, total: number): void;
  stop(): void;
}

/** Progress of long work in steps: a bar per step on a terminal, a line per tenth of it elsewhere, nothing when `quiet`. */
export function countProgress<Step extends string>(
  quiet: boolean,
  titles: Readonly<Record<Step, string>>,
): CountProgress<Step> {
  if (quiet) return { update: () => undefined, stop: () => undefined };
  let shown = '';
  if (!process.stderr.isTTY) {
    return {
      update: (step, done, total) => {
        const line = `  ${Math.floor((10 * done) / total) * 10} % of ${total} ${titles[step]}`;
        if (line !== shown) process.stderr.write(`${line}\n`);
        shown = line;
      },
      stop: () => undefined,
    };
  }
  let bar: SingleBar | undefined;
  return {
    update: (step, done, total) => {
      if (step !== shown) {
        bar?.stop();
        bar = new SingleBar({
          format: `  {bar} {value} of {total} ${titles[step]}, {eta_formatted} to go`,
          stream: process.stderr,
          hideCursor: true,
        });
        bar.start(total, 0);
        shown = step;
      }
      bar?.update(done);
    },
    stop: () => bar?.stop(),
  };
}
