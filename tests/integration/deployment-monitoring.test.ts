/** Dashboard and alert rules: they must not ask for metrics, labels or values that the service does not have. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ClusterMetrics } from '../../src/observability/cluster-metrics.js';
import { Metrics } from '../../src/observability/metrics.js';
import { testApp } from '../support/http-app.js';
import { referencesOf } from '../support/promql.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(ROOT + path, 'utf8');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly {
    readonly expr: string;
    readonly legendFormat: string;
    readonly datasource: { readonly uid: string };
  }[];
}
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string };
}

const dashboard: { panels: Panel[]; templating: { list: { name: string }[] } } = JSON.parse(
  read('deploy/grafana/dashboards/voice-auth.json'),
);
const compose = parse(read('docker-compose.yml'), { merge: true });
const rules: Rule[] = parse(read('deploy/prometheus/alerts.yml')).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
);
const queries = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })));

/** Names that can be asked for, with their labels: the service's own, and those that Prometheus makes. */
const { registry } = new Metrics();
const seriesNamesOf = (name: string, type: unknown) =>
  String(type) === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name];
const ofProcess = (await registry.getMetricsAsJSON()).map(({ name, type }) => ({
  name,
  series: seriesNamesOf(name, type),
  labels: (registry.getSingleMetric(name) as unknown as { readonly labelNames: readonly string[] }).labelNames,
}));
/** What several processes add to that has no labels. */
const ofCluster = [...(await new ClusterMetrics().page([])).matchAll(/^# TYPE (\S+)/gm)]
  .map(([, name]) => name!)
  .filter((name) => !ofProcess.some((metric) => metric.name === name))
  .map((name) => ({ name, series: [name], labels: [] }));
const own = [...ofProcess, ...ofCluster];
const labelsOf = new Map<string, readonly string[]>([
  ...own.flatMap(({ series, labels }) => series.map((name) => [name, [...labels, 'le', 'job', 'instance']] as const)),
  ['up', ['job', 'instance']],
]);

/** Values of our labels are written as literals somewhere in the sources, where they are counted. */
const literals = new Set(
  readdirSync(`${ROOT}src`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== join('observability', 'first-series.ts'))
    .flatMap((file) =>
      [...readFileSync(join(ROOT, 'src', file), 'utf8').matchAll(/'([\w.]+)'/g)].map(([, text]) => text!),
    ),
);
const OTHER_LABELS = ['job', 'instance', 'status'];

const matchesNone = (pattern: string) => ![...literals].some((text) => new RegExp(`^(?:${pattern})$`).test(text));

function problemsOf(expression: string): string[] {
  const { metrics, matchers, groupedBy } = referencesOf(expression);
  const known = metrics.flatMap((metric) => labelsOf.get(metric) ?? []);
  return [
    ...(metrics.length === 0 ? ['no metric'] : []),
    ...metrics.filter((metric) => !labelsOf.has(metric)).map((metric) => `metric ${metric}`),
    ...groupedBy.filter((label) => !known.includes(label)).map((label) => `grouping by ${label}`),
    ...matchers
      .filter(({ metric, label }) => !labelsOf.get(metric)?.includes(label))
      .map(({ label }) => `label ${label}`),
    ...matchers
      .filter(({ label }) => !OTHER_LABELS.includes(label))
      .flatMap(({ value, isPattern }) =>
        isPattern ? value.split('|').filter(matchesNone) : literals.has(value) ? [] : [value],
      )
      .map((value) => `value ${value}`),
  ];
}

/** The series that each counter and histogram of a service has before anything was counted. */
const fresh = await testApp().metrics.registry.getMetricsAsJSON();
const seriesAtStart = new Map(
  fresh
    .filter(({ type }) => String(type) !== 'gauge')
    .flatMap(({ name, type, values }) =>
      seriesNamesOf(name, type).map(
        (series) =>
          [
            series,
            // Those of a histogram come together, each with its own name.
            values
              .filter((value) => ((value as { metricName?: string }).metricName ?? name) === series)
              .map((value) => value.labels),
          ] as const,
      ),
    ),
);

/** What an expression looks for and will not find before it has happened. */
function missingAtStart(expression: string): string[] {
  const { metrics, matchers } = referencesOf(expression);
  const wanted = matchers
    // Prometheus adds these.
    .filter(({ label }) => label !== 'job' && label !== 'instance')
    .flatMap(({ metric, label, value }) =>
      value.split('|').map((each) => ({ metric, label, pattern: new RegExp(`^(?:${each})$`) })),
    );
  return [
    ...metrics.filter((metric) => seriesAtStart.get(metric)?.length === 0),
    ...wanted
      .filter(({ metric, label, pattern }) =>
        seriesAtStart.get(metric)?.every((labels) => !pattern.test(String(labels[label] ?? ''))),
      )
      .map(({ metric, label, pattern }) => `${metric} ${label} ${pattern.source}`),
  ];
}

describe('the check of expressions', () => {
  it('finds names, labels and values that do not exist', () => {
    expect(problemsOf('sum by (decision) (rate(voice_auth_verifications_total{reason="match"}[5m])) > 1')).toEqual([]);
    expect(problemsOf('rate(voice_auth_verification_total[5m])')).toEqual(['metric voice_auth_verification_total']);
    expect(problemsOf('rate(voice_auth_decision_seconds[5m])')).toEqual(['metric voice_auth_decision_seconds']);
    expect(problemsOf('sum by (code) (voice_auth_verifications_total)')).toEqual(['grouping by code']);
    expect(problemsOf('voice_auth_verifications_total{code="Busy"}')).toEqual(['label code']);
    expect(problemsOf('voice_auth_verifications_total{decision="accepted"}')).toEqual(['value accepted']);
    expect(problemsOf('voice_auth_verifications_total{reason=~"match|nomatch"}')).toEqual(['value nomatch']);
  });

  it('finds what is not there before it has happened, histograms too', () => {
    expect(missingAtStart('rate(voice_auth_stream_messages_ignored_total[5m])')).toEqual([
      'voice_auth_stream_messages_ignored_total',
    ]);
    expect(missingAtStart('rate(voice_auth_tool_call_seconds_count[5m])')).toEqual([
      'voice_auth_tool_call_seconds_count',
    ]);
    expect(missingAtStart('rate(voice_auth_database_seconds_count{outcome="DatabaseUnavailable"}[5m])')).toEqual([
      'voice_auth_database_seconds_count outcome ^(?:DatabaseUnavailable)$',
    ]);
    expect(missingAtStart('voice_auth_ready{component="database"} == 0')).toEqual([]);
  });
});

describe('alert rules', () => {
  it.each(rules)('$alert asks for what there is', ({ expr, labels, annotations }) => {
    expect(problemsOf(expr)).toEqual([]);
    expect(['page', 'ticket']).toContain(labels.severity);
    expect(annotations.summary).not.toBe('');
  });

  it.each(rules)('$alert sees a first burst, which grows from 0', ({ expr }) => {
    expect(missingAtStart(expr)).toEqual([]);
  });

  it('only shows labels in summaries that the expression leaves', () => {
    for (const { alert, expr, annotations } of rules) {
      const { metrics, groupedBy } = referencesOf(expr);
      const aggregated = /\b(sum|histogram_quantile)\b/.test(expr);
      const left = aggregated ? groupedBy : metrics.flatMap((metric) => labelsOf.get(metric) ?? []);
      for (const [, label] of annotations.summary.matchAll(/\$labels\.(\w+)/g)) expect(left, alert).toContain(label);
    }
  });

  it('are all tried', () => {
    const { tests }: { tests: { alert_rule_test: { alertname: string }[] }[] } = parse(
      read('deploy/prometheus/alerts.test.yml'),
    );
    const tried = tests.flatMap((test) => test.alert_rule_test.map(({ alertname }) => alertname));
    expect(rules.map(({ alert }) => alert).filter((alert) => !tried.includes(alert))).toEqual([]);
  });

  it('have names of their own', () => {
    expect(rules.length).toBeGreaterThan(10);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  });
});

describe('the dashboard', () => {
  it.each(queries)('$title: $legendFormat asks for what there is', ({ expr, legendFormat }) => {
    expect(problemsOf(expr)).toEqual([]);
    const { metrics, groupedBy } = referencesOf(expr);
    const left = groupedBy.length > 0 ? groupedBy : metrics.flatMap((metric) => labelsOf.get(metric) ?? []);
    for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(left).toContain(label);
  });

  it.each(queries.filter(({ expr }) => expr.includes('increase(')))(
    '$title: $legendFormat counts the first event, which grows from 0',
    ({ expr }) => {
      expect(missingAtStart(expr)).toEqual([]);
    },
  );

  it('shows every metric of the service', () => {
    const shown = new Set(queries.flatMap(({ expr }) => referencesOf(expr).metrics));
    const isDefault = (name: string) => /^voice_auth_(process|nodejs)_/.test(name);
    const hidden = own.filter(({ name, series }) => !isDefault(name) && !series.some((each) => shown.has(each)));
    expect(hidden.map(({ name }) => name)).toEqual([]);
    expect([...shown].some((name) => name.includes('eventloop_lag'))).toBe(true);
  });

  it('uses variables and the data source that exist', () => {
    const { datasources } = parse(read('deploy/grafana/provisioning/datasources/prometheus.yml'));
    const uids = dashboard.panels.flatMap(({ datasource, targets = [] }) => [
      datasource,
      ...targets.map((t) => t.datasource),
    ]);
    expect([...new Set(uids.flatMap((source) => source?.uid ?? []))]).toEqual([datasources[0].uid]);
    expect(datasources[0].url).toBe('http://prometheus:9090');
    expect(Object.keys(compose.services)).toContain('prometheus');
    const variables = queries.flatMap(({ expr }) => [...expr.matchAll(/\$([a-z]\w*)/g)].map(([, name]) => name));
    expect([...new Set(variables)]).toEqual(dashboard.templating.list.map(({ name }) => name));
  });

  it('lies where Grafana looks for it', () => {
    const { providers } = parse(read('deploy/grafana/provisioning/dashboards/voice-auth.yml'));
    const mounts: string[] = compose.services.grafana.volumes;
    expect(mounts).toContain(`./deploy/grafana/dashboards:${providers[0].options.path}:ro`);
    expect(mounts).toContain('./deploy/grafana/provisioning:/etc/grafana/provisioning:ro');
  });

  it('has panels with ids of their own that do not overlap', () => {
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const [index, { gridPos: a, title }] of panels.entries()) {
      expect(a.x + a.w, title).toBeLessThanOrEqual(24);
      for (const { gridPos: b, title: other } of panels.slice(index + 1)) {
        const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
        expect(apart, `${title} and ${other}`).toBe(true);
      }
    }
  });
});
