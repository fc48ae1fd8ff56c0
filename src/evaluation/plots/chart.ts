/**
 * The frame of every plot: axes, grid, legend and words for those who cannot see it, as one SVG string. Lines and text take the
 * colour of the page (`currentColor`), data colours are readable on white and on near-black and tell apart for colour-blind
 * eyes (after Okabe and Ito, 2008).
 */

export const COLOURS = ['#2f86c9', '#e0742f', '#1f9d7a', '#b565a7', '#8a8d91', '#a88b00'] as const;

export interface Axis {
  readonly label: string;
  readonly ticks: readonly { readonly at: number; readonly label: string }[];
  /** Position of a value between 0 (left, bottom) and 1 (right, top). */
  readonly place: (value: number) => number;
}

export interface LegendEntry {
  readonly label: string;
  readonly colour: string;
  readonly dash?: string;
}

export interface Chart {
  /** Unique on the page: names the title and the description. */
  readonly id: string;
  readonly title: string;
  /** What the plot shows, in a sentence for screen readers. */
  readonly description: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly legend: readonly LegendEntry[];
  readonly width?: number;
  readonly height?: number;
  readonly left?: number;
}

/** Pixels inside the frame. */
export interface Frame {
  x(value: number): number;
  y(value: number): number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const LEGEND_ROW_PX = 18;
const MAX_LEGEND_COLUMNS = 4;
/** Room for the mark of a legend entry, and for one letter of its text. */
const LEGEND_MARK_PX = 40;
const LETTER_PX = 6.4;

/** Draws the frame around what `body` draws into it. */
export function drawChart(chart: Chart, body: (frame: Frame) => string): string {
  const { width = 460, height = 360, left = 58 } = chart;
  const columns = legendColumns(chart.legend, width - 24 - left);
  const rows = Math.ceil(chart.legend.length / columns);
  const frame = frameOf(chart, { left, right: width - 24, top: 34 + rows * LEGEND_ROW_PX, bottom: height - 46 });
  const { top, bottom, right } = frame;
  const parts = [
    `<text x="${left}" y="18" class="plot-title" font-size="14" font-weight="600">${escapeXml(chart.title)}</text>`,
    legendOf(chart.legend, { left, width: right - left, columns }),
    ...chart.x.ticks.map(({ at, label }) => {
      const x = number(frame.x(at));
      return (
        `<line x1="${x}" x2="${x}" y1="${top}" y2="${bottom}" stroke="currentColor" stroke-opacity="0.12"/>` +
        `<text x="${x}" y="${bottom + 16}" text-anchor="middle">${escapeXml(label)}</text>`
      );
    }),
    ...chart.y.ticks.map(({ at, label }) => {
      const y = number(frame.y(at));
      return (
        `<line x1="${left}" x2="${right}" y1="${y}" y2="${y}" stroke="currentColor" stroke-opacity="0.12"/>` +
        `<text x="${left - 7}" y="${number(frame.y(at) + 4)}" text-anchor="end">${escapeXml(label)}</text>`
      );
    }),
    `<rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" fill="none" stroke="currentColor" stroke-opacity="0.35"/>`,
    `<text x="${(left + right) / 2}" y="${height - 10}" text-anchor="middle">${escapeXml(chart.x.label)}</text>`,
    chart.y.label === ''
      ? ''
      : `<text transform="translate(14 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeXml(chart.y.label)}</text>`,
    body(frame),
  ];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" ` +
    `aria-labelledby="${chart.id}-title ${chart.id}-desc" font-family="system-ui, sans-serif" font-size="12" fill="currentColor">` +
    `<title id="${chart.id}-title">${escapeXml(chart.title)}</title>` +
    `<desc id="${chart.id}-desc">${escapeXml(chart.description)}</desc>${parts.join('')}</svg>`
  );
}

export interface LineStyle {
  readonly colour: string;
  readonly width?: number;
  readonly dash?: string;
  readonly opacity?: number;
}

/** A line through points in pixels. */
export function polyline(points: readonly (readonly [number, number])[], style: LineStyle): string {
  const path = points.map(([x, y]) => `${number(x)},${number(y)}`).join(' ');
  const dash = style.dash ? ` stroke-dasharray="${style.dash}"` : '';
  const opacity = style.opacity === undefined ? '' : ` stroke-opacity="${style.opacity}"`;
  return `<polyline points="${path}" fill="none" stroke="${style.colour}" stroke-width="${style.width ?? 2}" stroke-linejoin="round"${dash}${opacity}/>`;
}

/** An axis with equal steps from `from` to `to`. */
export function linearAxis(
  label: string,
  range: { from: number; to: number; steps: number },
  format: (value: number) => string,
): Axis {
  const { from, to, steps } = range;
  const ticks = Array.from({ length: steps + 1 }, (_, index) => {
    const at = from + ((to - from) * index) / steps;
    return { at, label: format(at) };
  });
  return { label, ticks, place: (value) => (value - from) / (to - from) };
}

/** Digits as a plot needs them. */
export function number(value: number): string {
  return String(Math.round(value * 100) / 100);
}

export function percent(share: number): string {
  return `${percentDigits(share)} %`;
}

/** A share in percent without the sign: one decimal from 10 % on, two digits below. */
export function percentDigits(share: number): string {
  const value = share * 100;
  return String(Math.abs(value) >= 10 ? Math.round(value * 10) / 10 : Number(value.toPrecision(2)));
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function frameOf(chart: Chart, edges: { left: number; right: number; top: number; bottom: number }): Frame {
  const { left, right, top, bottom } = edges;
  const inside = (share: number) => Math.min(1, Math.max(0, share));
  return {
    ...edges,
    x: (value) => left + inside(chart.x.place(value)) * (right - left),
    y: (value) => bottom - inside(chart.y.place(value)) * (bottom - top),
  };
}

/** As many columns as the longest label leaves room for. */
function legendColumns(entries: readonly LegendEntry[], width: number): number {
  const widest = LEGEND_MARK_PX + LETTER_PX * Math.max(0, ...entries.map(({ label }) => label.length));
  return Math.max(1, Math.min(MAX_LEGEND_COLUMNS, entries.length, Math.floor(width / widest)));
}

function legendOf(
  entries: readonly LegendEntry[],
  place: { readonly left: number; readonly width: number; readonly columns: number },
): string {
  return entries
    .map(({ label, colour, dash }, index) => {
      const x = place.left + (index % place.columns) * (place.width / place.columns);
      const y = 36 + Math.floor(index / place.columns) * LEGEND_ROW_PX;
      const dashes = dash ? ` stroke-dasharray="${dash}"` : '';
      return (
        `<line x1="${number(x)}" x2="${number(x + 20)}" y1="${y - 4}" y2="${y - 4}" stroke="${colour}" stroke-width="3"${dashes}/>` +
        `<text x="${number(x + 26)}" y="${y}">${escapeXml(label)}</text>`
      );
    })
    .join('');
}
