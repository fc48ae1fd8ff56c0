/** What an evaluation says, in sentences for people who do not read tables. */
import { percent, percentDigits } from './plots/chart.js';
import { conditionTitle, playedTitle } from './plots/plots.js';
import { type CorpusResults, missesAt, type ReportedEstimate, SYSTEM_TITLES } from './results.js';
import { DEFAULT_THRESHOLD, judgedCalls } from './threshold-table.js';

/** What normalisation and calibration are meant to save; less is said to be less. */
const WORTH_SAVING = 0.15;

/** Where a claim stands for fewer false matches than this, none at all is what it would bring 1 time in 20 or more often. */
const MIN_EXPECTED_MATCHES = 3;

export function summarise(corpus: CorpusResults): string[] {
  return [
    `${corpus.speakers} people in ${corpus.recordings} recordings` +
      (corpus.unusable > 0 ? `, ${corpus.unusable} of them with too little speech for the model.` : '.'),
    ...errorSentences(corpus),
    ...liveSentence(corpus),
    ...savingSentences(corpus),
  ];
}

function errorSentences({ conditions }: CorpusResults): string[] {
  const rates = conditions.map((condition) => {
    const system = condition.systems.find((entry) => entry.system === 'as-norm') ?? condition.systems[0]!;
    return { condition, system, eer: system.measures.eer! };
  });
  const sorted = [...rates].sort((a, b) => a.eer.value - b.eer.value);
  const [best, worst] = [sorted[0]!, sorted.at(-1)!];
  const said = ({ condition, system, eer }: typeof best) => {
    const each = system.measures.eerEachOwner;
    const once = each ? `; ${withInterval(each)} when every owner counts once` : '';
    return `${withInterval(eer)} (${conditionTitle(condition)}${once})`;
  };
  const first =
    `Where as many owners are missed as strangers matched, ${SYSTEM_TITLES[best.system.system]} is wrong in ` +
    (best === worst ? `${said(best)} of trials.` : `${said(best)} to ${said(worst)} of trials.`);
  const misses = missesAt(best.system, 0.01);
  if (!misses) return [first];
  return [
    first,
    `At a threshold that matches 1 stranger in 100, ${withInterval(misses)} of owners are missed at best (${conditionTitle(best.condition)}).`,
  ];
}

function liveSentence(corpus: CorpusResults): string[] {
  const checked = judgedCalls(corpus);
  const row = checked?.rows.find(({ threshold }) => threshold === DEFAULT_THRESHOLD);
  if (!checked || !row) return [];
  const { claimed, observed } = row;
  const verdict =
    (observed.low ?? observed.value) > claimed
      ? 'the claim is not kept'
      : claimed * checked.nontargets < MIN_EXPECTED_MATCHES
        ? 'too few attempts to tell'
        : (observed.high ?? observed.value) < claimed
          ? 'fewer than claimed'
          : 'the interval includes the claim';
  const time = row.medianSpeechS === null ? '' : `, half of these within ${row.medianSpeechS} s of speech`;
  const each = row.eachOwnerAccepted
    ? ` (${withInterval(row.eachOwnerAccepted)} when every owner counts once, however many calls there are of them)`
    : '';
  const title = playedTitle(checked);
  const how =
    checked.calibration === 'cross-validated' ? 'calibrated on other people' : 'with the calibration as shipped';
  return [
    `Whole calls${title === undefined ? '' : ` (${title})`} at the default threshold of ${row.threshold} (${how}): ${withInterval(row.ownersAccepted)} of calls by owners are accepted${each}${time}. ` +
      `False matches: ${percent(claimed)} claimed, ${withInterval(observed)} observed; ${verdict}.`,
  ];
}

function savingSentences({ decisions }: CorpusResults): string[] {
  const pooled = decisions.filter(({ condition }) => condition === 'all conditions');
  const shown = pooled.length > 0 ? pooled : decisions;
  return shown.flatMap(({ pTarget, systems }) => {
    const calibrated = systems.find(({ system }) => system === 'calibrated');
    if (!calibrated) return [];
    const { saved } = calibrated;
    const much = saved.value < WORTH_SAVING ? `; a saving of ${percent(WORTH_SAVING)} is what it should bring` : '';
    const verb = saved.value >= 0 ? `costs ${percent(saved.value)} less` : `costs ${percent(-saved.value)} more`;
    const interval =
      saved.low === null || saved.high === null
        ? ''
        : ` (95 % interval of the saving: ${percentDigits(saved.low)} to ${percent(saved.high)})`;
    const useless = systems.every((entry) => entry.actDcf.value >= 1)
      ? ' None of them does better than refusing everybody.'
      : '';
    return [
      `Deciding by AS-norm and calibration ${verb} than by raw cosine with the best fixed threshold when one attempt in ` +
        `${Math.round(1 / pTarget)} is by the owner${interval}${much}.${useless}`,
    ];
  });
}

function withInterval({ value, low, high }: ReportedEstimate): string {
  return low === null || high === null
    ? percent(value)
    : `${percent(value)} [${percentDigits(low)} to ${percentDigits(high)}]`;
}
