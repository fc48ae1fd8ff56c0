/** The look of a report, for light and dark screens and for paper. */
export const REPORT_STYLE = `
:root { color-scheme: light dark; --ink: #1b2430; --paper: #fbfbf9; --card: #ffffff; --line: #d9dde2; --soft: #5d6875; --accent: #2f86c9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --paper: #14181d; --card: #1c2229; --line: #343c46; --soft: #9aa5b1; --accent: #6db3e8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 40px 20px 80px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 1.25rem; margin: 48px 0 12px; }
.kicker { color: var(--accent); font-weight: 600; margin: 0; }
.meta, caption, small, .method { color: var(--soft); }
.summary { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--accent); border-radius: 6px; padding: 16px 20px 16px 38px; font-size: 1.05rem; }
.summary li { margin: 6px 0; }
figure { margin: 24px 0; }
svg { max-width: 100%; height: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 8px; }
.wide svg { width: 100%; }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px; margin: 16px 0; }
.pairs svg { width: 100%; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.86rem; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; padding-top: 8px; font-size: 0.86rem; }
th, td { text-align: left; vertical-align: top; padding: 6px 10px 6px 0; }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
tr.first > * { border-top: 1px solid var(--line); }
tbody th { font-weight: 600; max-width: 190px; }
small { font-size: 0.78rem; font-weight: 400; white-space: nowrap; }
.none { color: var(--soft); }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; font-size: 0.82rem; }
@media print { body { background: none; } svg, tr { break-inside: avoid; } }
`;
