/**
 * How many rules one warm thread evaluates a second: `node bench/micro/rules.ts [seconds per line]`. The five rules of
 * configs/rules.yaml over 1,000 rows of 17 features, as levels and as edges, then one long condition. Seconds are of CPU time of the
 * whole process, which other work on the machine disturbs less than the clock.
 */
import { readFileSync } from 'node:fs';
import { Random } from '../../src/core/market/synthetic/random.ts';
import { parseRules } from '../../src/stream/inference/rules/parse.ts';
import type { RuleRow, RuleSet } from '../../src/stream/inference/rules/rule-set.ts';

const ROWS = 1000;
const SYMBOLS = 100;
const FEATURES = ['momentum', 'volatility', 'rsi', ...Array.from({ length: 14 }, (_, at) => `other_${at}`)];
const secondsPerLine = Number(process.argv[2] ?? 2);

const random = new Random('rules');
const rows: RuleRow[] = Array.from({ length: ROWS }, () => {
  const values = new Float64Array(FEATURES.length).map(() => random.unit());
  values[0] = (random.unit() - 0.5) / 20;
  values[2] = random.unit() * 100;
  return { price: 100 + random.unit(), values };
});

function measure(name: string, rules: RuleSet): void {
  const held: (readonly string[])[] = Array.from({ length: SYMBOLS }, () => []);
  let fired = 0;
  const round = (): void => {
    for (const [at, row] of rows.entries()) {
      const evaluation = rules.evaluate(row, held[at % SYMBOLS]);
      held[at % SYMBOLS] = evaluation.held;
      fired += evaluation.fired.length;
    }
  };
  for (let warm = 0; warm < 200; warm += 1) round();
  fired = 0;
  const began = process.cpuUsage();
  let rounds = 0;
  let seconds = 0;
  while (seconds < secondsPerLine) {
    round();
    rounds += 1;
    const { user, system } = process.cpuUsage(began);
    seconds = (user + system) / 1e6;
  }
  const evaluations = rounds * ROWS * rules.rules.length;
  const millions = (evaluations / seconds / 1e6).toFixed(2);
  const share = ((100 * fired) / evaluations).toFixed(0);
  console.log(`${name.padEnd(24)}${millions.padStart(8)} million rules a second, ${share} % fired`);
}

const seed = readFileSync(new URL('../../configs/rules.yaml', import.meta.url), 'utf8');
measure('five rules, level', parseRules('rules.yaml', seed, FEATURES));
measure(
  'five rules, edge',
  parseRules('rules.yaml', seed.replaceAll(/^ {2}signal/gm, '  mode: edge\n$&'), FEATURES),
);
const long = 'momentum > 0.01 && rsi > 50 && volatility * 2 > 0.3 || (price - 100) / price < 0.001';
measure(
  'one long condition',
  parseRules('long.yaml', `- name: long\n  condition: "${long}"\n  signal: 1`, FEATURES),
);
