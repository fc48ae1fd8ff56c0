/** A report for people: one HTML page without scripts and without anything to load, from the results of an evaluation. */
import { escapeXml, percent, percentDigits } from './plots/chart.js';
import {
  claimPlot,
  conditionTitle,
  detPlot,
  errorRatePlot,
  histogramPlot,
  playedTitle,
  speechPlot,
} from './plots/plots.js';
import { REPORT_STYLE } from './report-style.js';
import { type CorpusResults, missesAt, type ReportedEstimate, type Results, SYSTEM_TITLES } from './results.js';
import { summarise } from './summary.js';
import { perOwnerCell } from './threshold-table.js';

const CALIBRATION_TITLES = {
  shipped: 'as shipped with the model',
  'cross-validated': 'fitted on other people',
} as const;

export function renderReport(results: Results): string {
  const names = results.corpora.map(({ name }) => name).join(', ');
  const body = [
    `<header><p class="kicker">voice-auth evaluation</p><h1>${escapeXml(names)}</h1>` +
      `<p class="meta">Model <code>${escapeXml(results.model.id)}</code> (weights ${escapeXml(results.model.sha256.slice(0, 12))}), ` +
      `speech detector ${escapeXml((results.model.speechDetector ?? 'silero').slice(0, 12))}, ` +
      `service ${escapeXml(results.serviceVersion)}, ${escapeXml(results.createdAt.slice(0, 10))}</p></header>`,
    ...results.corpora.map((corpus, index) => renderCorpus(corpus, `c${index}`)),
    notesOf(results),
    methodOf(results),
  ];
  return (
    `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">` +
    `<title>voice-auth evaluation: ${escapeXml(names)}</title><style>${REPORT_STYLE}</style></head>\n<body><main>\n${body.join('\n')}\n</main></body></html>\n`
  );
}

function renderCorpus(corpus: CorpusResults, id: string): string {
  const summary = summarise(corpus)
    .map((sentence) => `<li>${escapeXml(sentence)}</li>`)
    .join('');
  const plots = corpus.conditions.map((condition, index) => {
    const normalised = condition.systems.find(({ system }) => system === 'as-norm') ?? condition.systems[0]!;
    const title = `${conditionTitle(condition)}: ${SYSTEM_TITLES[normalised.system]}`;
    return detPlot(`${id}-det-${index}`, condition) + histogramPlot(`${id}-histogram-${index}`, title, normalised);
  });
  return [
    `<section><h2>${escapeXml(corpus.name)}: what was found</h2><ul class="summary">${summary}</ul>`,
    `<figure class="wide">${errorRatePlot(`${id}-eer`, 'Equal error rates', corpus.conditions)}</figure></section>`,
    `<section><h2>Telling owners from strangers</h2>${errorTable(corpus)}</section>`,
    decisionSection(corpus),
    claimSection(corpus, id),
    thresholdSection(corpus),
    speechSection(corpus, id),
    `<section><h2>Error curves and scores</h2><p>Left: owners missed against strangers matched, on axes where bell-shaped scores make ` +
      `straight lines; nearer to the lower left corner is better, the ring marks the equal error rate. Right: where the scores lie.</p>` +
      `<div class="pairs">${plots.join('')}</div></section>`,
  ].join('\n');
}

function errorTable({ conditions }: CorpusResults): string {
  const rows = conditions.flatMap((condition) =>
    condition.systems.map(({ system, targets, nontargets, measures }, index) => {
      const misses = (fmr: number) => rate(missesAt({ measures, nontargets }, fmr));
      const cells = [
        rate(measures.eer),
        rate(measures.eerEachOwner),
        misses(0.1),
        misses(0.01),
        misses(0.001),
        cost(measures['minDcf@0.05']),
        cost(measures['minDcf@0.01']),
        cost(measures.minCllr),
        cost(measures.cllr),
      ];
      const head =
        index === 0
          ? `<th scope="rowgroup" rowspan="${condition.systems.length}">${escapeXml(conditionTitle(condition))}<br><small>${targets} / ${nontargets} trials</small></th>`
          : '';
      return `<tr${index === 0 ? ' class="first"' : ''}>${head}<td>${SYSTEM_TITLES[system]}</td>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
    }),
  );
  return table(
    [
      'condition',
      'system',
      'equal error rate',
      'every owner counting once',
      'owners missed at FMR 10 %',
      'at FMR 1 %',
      'at FMR 0.1 %',
      'least cost, P 0.05',
      'least cost, P 0.01',
      'min C<sub>llr</sub>',
      'C<sub>llr</sub>',
    ],
    rows,
    'Trials: targets / nontargets. Figures with 95 % intervals below them. Every owner counting once: the equal error rate if every owner had the same number of trials. No rate of owners missed (-): fewer strangers than it takes to be matched once at that FMR. Cost 1 = as good as not listening; P: share of attempts that are by the owner. C<sub>llr</sub> exists for ' +
      'calibrated scores only, calibrated on other people.',
  );
}

function decisionSection({ decisions, conditions }: CorpusResults): string {
  if (decisions.length === 0) return '';
  const titles = new Map(conditions.map((condition) => [condition.name, conditionTitle(condition)]));
  const rows = decisions.flatMap(({ condition, pTarget, systems, targets, nontargets }) =>
    systems.map(({ system, pMiss, pFa, actDcf, saved }, index) => {
      const head =
        index === 0
          ? `<th scope="rowgroup" rowspan="${systems.length}">${escapeXml(titles.get(condition) ?? condition)}, P ${pTarget}<br><small>${targets} / ${nontargets} trials</small></th>`
          : '';
      const how = system === 'calibrated' ? 'threshold from decision theory' : 'one fixed threshold';
      return (
        `<tr${index === 0 ? ' class="first"' : ''}>${head}<td>${SYSTEM_TITLES[system]}<br><small>${how}</small></td>` +
        `<td>${rate(pMiss)}</td><td>${rate(pFa)}</td><td>${cost(actDcf)}</td><td>${index === 0 ? '' : rate(saved)}</td></tr>`
      );
    }),
  );
  return (
    '<section><h2>What decisions cost</h2><p>Thresholds and calibration are fitted on one half of the people, over all conditions together, and applied ' +
    'to the other half, both ways; averaged over 20 ways to cut the people into halves.</p>' +
    table(
      ['condition', 'system', 'owners missed', 'strangers matched', 'actual cost', 'saved against raw cosine'],
      rows,
      'Figures with 95 % intervals below them. A negative saving means that it cost more.',
    ) +
    '</section>'
  );
}

function claimSection(corpus: CorpusResults, id: string): string {
  const plots: string[] = [];
  if (corpus.claims.length > 0) {
    const series = corpus.claims.map(({ calibration, points }) => ({ label: CALIBRATION_TITLES[calibration], points }));
    plots.push(claimPlot(`${id}-claims`, 'Single comparisons', series));
  }
  if (corpus.live.length > 0) {
    const series = corpus.live.map(({ calibration, rows }) => ({
      label: CALIBRATION_TITLES[calibration],
      points: rows.map(({ claimed, observed }) => ({ claimed, observed })),
    }));
    plots.push(claimPlot(`${id}-live-claims`, 'Whole calls, all looks together', series));
  }
  if (plots.length === 0) return '';
  return (
    '<section><h2>Is the claimed false match rate kept?</h2><p>Every score stands for a false match rate: FMR = (1 - score)<sup>3</sup>. Dots on or below the ' +
    `dotted line keep that claim.</p><div class="pairs">${plots.join('')}</div></section>`
  );
}

function thresholdSection(corpus: CorpusResults): string {
  const times = corpus.live[0]?.rows[0]?.acceptedAfter.map(({ seconds }) => `after ${seconds} s`);
  if (!times) return '';
  const played = playedTitle(corpus.live[0]!);
  const rows = corpus.live.flatMap(({ calibration, rows: thresholds }) =>
    thresholds.map((row, index) => {
      const head =
        index === 0
          ? `<th scope="rowgroup" rowspan="${thresholds.length}">${CALIBRATION_TITLES[calibration]}</th>`
          : '';
      const median = row.medianSpeechS === null ? 'nobody' : `${row.medianSpeechS} s`;
      return (
        `<tr${index === 0 ? ' class="first"' : ''}>${head}<td>${row.threshold}</td><td>${percent(row.claimed)}</td><td>${rate(row.observed)}</td>` +
        `<td>${perOwnerCell(row.perOwner)}</td><td>${percent(row.perOwner.matched)}</td>` +
        row.acceptedAfter.map(({ share }) => `<td>${rate(share)}</td>`).join('') +
        `<td>${rate(row.ownersAccepted)}</td><td>${rate(row.eachOwnerAccepted)}</td><td>${median}</td></tr>`
      );
    }),
  );
  return (
    '<section><h2>Which threshold to set</h2><p>Whole calls played against the decision rule of the service, look by look: what each threshold lets through, and ' +
    'how many owners it has accepted after so many seconds of their speech.</p>' +
    table(
      [
        'calibration',
        'threshold',
        'claimed FMR',
        'observed, per impostor attempt',
        'per owner: mean, 9 in 10 at most',
        'owners matched at all',
        ...times.map((time) => `owners accepted ${time}`),
        'in the end',
        'the same, every owner counting once',
        'half of them within',
      ],
      rows,
      `${played === undefined ? '' : `Calls: ${escapeXml(played)}. `}Figures with 95 % intervals below them. Per owner: share of the strangers pretending to be one person who are accepted, over the people. Owners accepted: share of ` +
        'their calls, also of those that were over before; people with many calls weigh more, except where every owner counts once.',
    ) +
    '</section>'
  );
}

function speechSection(corpus: CorpusResults, id: string): string {
  if (corpus.live.length === 0) return '';
  const plots = corpus.live.map((live) =>
    speechPlot(`${id}-speech-${live.calibration}`, `Calibration ${CALIBRATION_TITLES[live.calibration]}`, live),
  );
  return (
    '<section><h2>How much speech owners need</h2><p>The same calls. A line that ends below 100 % leaves the rest of the owners unaccepted.</p>' +
    `<div class="pairs">${plots.join('')}</div></section>`
  );
}

function notesOf({ notes, model }: Results): string {
  const all = [
    ...(model.fittedOn === null
      ? []
      : [
          `The calibration shipped with the model says it was fitted on: ${model.fittedOn}. On the same data its claims are kept by construction; only the cross-validated ones are evidence.`,
        ]),
    ...notes,
  ];
  if (all.length === 0) return '';
  return `<section><h2>To keep in mind</h2><ul>${all.map((note) => `<li>${escapeXml(note)}</li>`).join('')}</ul></section>`;
}

function methodOf({ settings, command }: Results): string {
  return (
    '<section class="method"><h2>How it was measured</h2>' +
    "<p>Recordings went through the service's own decoder, speech detector, windows and inference processes. " +
    (settings.trials === 'list'
      ? 'Trials are those of a list that was given, and people and recordings those that it names: '
      : 'Trials are all ordered pairs of recordings of different calls, ') +
    'never two pieces of one call, never people of two corpora. Trials of short recordings use what speech there is.</p>' +
    `<p>Intervals hold 95 % of ${settings.resamples} resamples of the speakers (both sides of every trial; seed ${settings.seed}). The equal error rate is read off the ` +
    'error curve itself with linear interpolation. Costs are normalised detection costs with C<sub>miss</sub> = C<sub>fa</sub> = 1. FMR and FNMR are those of ISO/IEC 19795-1. ' +
    `${settings.degraded === 'test' ? 'Conditions were applied to the tested recording only.' : 'Conditions were applied to both recordings.'}</p>` +
    `<pre><code>${escapeXml(command)}</code></pre></section>`
  );
}

function table(head: readonly string[], rows: readonly string[], caption: string): string {
  const titles = head.map((title) => `<th scope="col">${title}</th>`).join('');
  return `<div class="scroll"><table><caption>${caption}</caption><thead><tr>${titles}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function rate(estimate: ReportedEstimate | undefined): string {
  return cell(estimate, percentDigits, ' %');
}

function cost(estimate: ReportedEstimate | undefined): string {
  return cell(estimate, (value) => value.toFixed(3), '');
}

function cell(estimate: ReportedEstimate | undefined, format: (value: number) => string, unit: string): string {
  if (!estimate) return '<span class="none">-</span>';
  const { value, low, high } = estimate;
  const interval = low === null || high === null ? '' : `<br><small>${format(low)} to ${format(high)}</small>`;
  return `${format(value)}${unit}${interval}`;
}
