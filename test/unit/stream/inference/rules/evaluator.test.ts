import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import type { FeatureRow } from '../../../../../src/core/signal/signal.ts';
import { RulesEvaluator } from '../../../../../src/stream/inference/rules/evaluator.ts';

const RULES = `- { name: hot, condition: "rsi > 70", signal: -1, score: 0.7, mode: edge }
- { name: up, condition: "momentum > 0.01", signal: 1 }
- { name: odd, condition: "1 / (rsi > 90 ? 0 : 1) == 0", signal: 0 }
`;

function row(symbol: string, tsUs: number, rsi: number, momentum: number): FeatureRow {
  const values = Float64Array.of(rsi, momentum);
  return { runId: 0n, provider: 'ibkr', symbol, tsUs, price: 425.15, values, isQuoted: false };
}

void test('rows become signals, and what holds is kept by symbol', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'rules-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'rules.yaml');
  await writeFile(file, RULES);
  const counted: string[] = [];
  const evaluator = await RulesEvaluator.open({
    file,
    features: ['rsi', 'momentum'],
    window: '2s',
    meter: {
      count: (name, { reason }, by) => counted.push(`${name} ${reason} ${by}`),
      set: () => {},
      observe: () => {},
    },
  });
  t.teardown(() => evaluator.close());
  t.same(evaluator.names, ['hot', 'up', 'odd']);

  const kept = new Map<string, readonly string[]>();
  const sets: string[] = [];
  const facts = {
    get: ({ symbol }: { symbol: string }) => kept.get(symbol) ?? [],
    set: ({ symbol }: { symbol: string }, held: readonly string[]) => {
      sets.push(`${symbol} ${held.join()}`);
      kept.set(symbol, held);
    },
  };
  const rows = [
    row('SPY', 2, 71, 0.02),
    row('QQQ', 2, 50, 0),
    row('SPY', 4, 95, 0.02),
    row('SPY', 6, Number.NaN, 0),
    row('QQQ', 6, 75, 0),
  ];
  const all = { runId: 0n, provider: 'ibkr', window: '2s', price: 425.15, modelVersion: null };
  const expected = [
    { ...all, symbol: 'SPY', tsUs: 2, name: 'hot', value: -1, score: 0.7 },
    { ...all, symbol: 'SPY', tsUs: 2, name: 'up', value: 1, score: null },
    { ...all, symbol: 'SPY', tsUs: 4, name: 'up', value: 1, score: null },
    { ...all, symbol: 'QQQ', tsUs: 6, name: 'hot', value: -1, score: 0.7 },
  ];
  t.strictSame(evaluator.evaluate(rows, facts), expected);
  t.same(sets, ['SPY hot', 'SPY ', 'QQQ hot'], 'only what changes is said');
  t.same(counted, ['errors_total rule_failed 1']);

  kept.clear();
  const apart = [rows.slice(0, 2), rows.slice(2)].flatMap((part) => evaluator.evaluate(part, facts));
  t.strictSame(apart, expected, 'however the rows are cut into steps');
});
