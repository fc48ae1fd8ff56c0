/** Finds what a PromQL expression refers to: enough to catch names and values that do not exist, not a parser. */

export interface Matcher {
  readonly metric: string;
  readonly label: string;
  /** A regular expression for `=~` and `!~`, else the value itself. */
  readonly value: string;
  readonly isPattern: boolean;
}

export interface References {
  readonly metrics: readonly string[];
  readonly matchers: readonly Matcher[];
  /** Labels of `by (...)`. */
  readonly groupedBy: readonly string[];
}

const KEYWORDS = new Set(['and', 'or', 'unless', 'by', 'on', 'bool']);

/** Metrics, label matchers and grouping labels of an expression. Grafana's `$variables` may stand where it allows them. */
export function referencesOf(expression: string): References {
  const matchers: Matcher[] = [];
  const bare = expression
    .replaceAll(/([a-zA-Z_]\w*)\s*\{([^}]*)\}/g, (_all, metric: string, selectors: string) => {
      for (const [, label = '', operator = '', value = ''] of selectors.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)) {
        matchers.push({ metric, label, value, isPattern: operator.endsWith('~') });
      }
      return metric;
    })
    .replaceAll(/\[[^\]]*\]/g, '');
  const groupedBy: string[] = [];
  const names = bare.replaceAll(/\bby\s*\(([^)]*)\)/g, (_all, labels: string) => {
    groupedBy.push(...labels.split(',').map((label) => label.trim()));
    return '';
  });
  const metrics = [...names.matchAll(/[a-zA-Z_]\w*(?!\w*\s*\()/g)].map(([name]) => name);
  return { metrics: metrics.filter((name) => !KEYWORDS.has(name)), matchers, groupedBy };
}
