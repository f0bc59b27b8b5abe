import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test } from 'tap';
import { Conditions } from '../../../../../src/stream/inference/rules/condition.ts';
import { parseRules } from '../../../../../src/stream/inference/rules/parse.ts';
import type { RuleRow } from '../../../../../src/stream/inference/rules/rule-set.ts';

const FEATURES = ['rsi', 'momentum', 'volatility', 'vwap_1m'];

function row(values: Readonly<Record<string, number>>, price = 100): RuleRow {
  return { price, values: Float64Array.from(FEATURES, (name) => values[name] ?? Number.NaN) };
}

function rulesOf(...rules: { condition: string; mode?: string }[]) {
  const text = rules.map(
    ({ condition, mode }, at) =>
      `- name: r${at}\n  condition: ${JSON.stringify(condition)}\n  signal: ${at}\n  mode: ${mode ?? 'level'}\n`,
  );
  return parseRules('rules.yaml', text.join(''), FEATURES);
}

/** Whether the condition, as a rule, fires on the row. */
function fires(condition: string, given: RuleRow): boolean {
  return rulesOf({ condition }).evaluate(given, []).fired.length === 1;
}

void test('the five rules of the seed fire each on a row made for it, and not on its mirror', (t) => {
  const shipped = readFileSync(new URL('../../../../../configs/rules.yaml', import.meta.url), 'utf8');
  const rules = parseRules('rules.yaml', shipped, FEATURES);
  const middle = { rsi: 50, momentum: 0, volatility: 0.1, vwap_1m: 100 };
  type Values = Readonly<Record<string, number>>;
  const cases: [name: string, made: Values, mirror: Values, limit: Values][] = [
    ['price_momentum_up', { momentum: 0.011 }, { momentum: -0.011 }, { momentum: 0.01 }],
    ['price_momentum_down', { momentum: -0.011 }, { momentum: 0.011 }, { momentum: -0.01 }],
    ['high_volatility', { volatility: 0.35 }, { volatility: 0.25 }, { volatility: 0.3 }],
    ['rsi_overbought', { rsi: 71 }, { rsi: 29 }, { rsi: 70 }],
    ['rsi_oversold', { rsi: 29 }, { rsi: 71 }, { rsi: 30 }],
  ];
  const fired = (values: Values): string[] =>
    rules.evaluate(row({ ...middle, ...values }), []).fired.map(({ name }) => name);
  t.same(fired({}), []);
  for (const [name, made, mirror, limit] of cases) {
    t.same(fired(made), [name], name);
    t.notOk(fired(mirror).includes(name), `${name}: mirror`);
    t.same(fired(limit), [], `${name}: at the limit itself`);
  }
  t.same(
    rules.evaluate(row({ ...middle, rsi: 71, momentum: 0.02, volatility: 1 }), []).fired,
    rules.rules.filter(({ name }) =>
      ['price_momentum_up', 'high_volatility', 'rsi_overbought'].includes(name),
    ),
    'several, in the order of the file',
  );
  t.end();
});

void test('a rule that names a cold variable does not fire, whatever its condition says', (t) => {
  for (const cold of [Number.NaN, Infinity, -Infinity]) {
    for (const condition of [
      '!(rsi > 1)',
      'rsi != rsi',
      'rsi < 1 || true',
      'momentum > 0 || rsi > 1',
      'true ? true : rsi > 1',
    ])
      t.notOk(fires(condition, row({ rsi: cold, momentum: 1 })), `${condition} of ${cold}`);
  }
  t.ok(fires('!(momentum > 1)', row({ momentum: 1 })), 'others may be cold');
  t.ok(fires('price > 99', row({})));
  t.notOk(fires('!(price > 99)', row({}, Number.NaN)));
  t.ok(
    fires('!(momentum / volatility > 1)', row({ momentum: 0, volatility: 0 })),
    '0 / 0 is no number, as in CEL',
  );
  t.end();
});

void test('whole numbers and others mix, and whole ones alone divide as CEL says', (t) => {
  const given = row({ rsi: 70, momentum: 0.5 });
  for (const condition of [
    'rsi == 70',
    '70 == rsi',
    'rsi != 71',
    'rsi >= 70 && rsi <= 70.0',
    'rsi + 1 == 71',
    '1 + rsi == 71.0',
    '2 * rsi - 40 == 100',
    '700 / rsi == 10',
    'rsi / 4 == 17.5',
    '100 - rsi == 30',
    '-rsi < -69',
    '- -rsi == 70',
    '7 / 2 == 3 && 7.0 / 2 == 3.5 && 7 % 2 == 1',
    'rsi > 9223372036854775807 == false',
    'rsi > 70 ? false : momentum == 0.5',
    'momentum * 1e3 == 500',
    'rsi > 0x45',
    'rsi > 60 // the rest is a comment',
  ])
    t.ok(fires(condition, given), condition);
  t.end();
});

void test('edge fires where the condition begins to hold; its state is given back and taken again', (t) => {
  const rules = rulesOf(
    { condition: 'rsi > 70', mode: 'edge' },
    { condition: 'rsi > 70' },
    { condition: 'rsi < 30', mode: 'edge' },
  );
  const seen = [50, 71, 75, Number.NaN, 72, 20, 20, 71];
  let held: readonly string[] = [];
  const fired = seen.map((rsi) => {
    const evaluation = rules.evaluate(row({ rsi }), held);
    held = JSON.parse(JSON.stringify(evaluation.held)) as string[];
    return evaluation.fired.map(({ name }) => name).join();
  });
  t.same(fired, ['', 'r0,r1', 'r1', '', 'r0,r1', 'r2', '', 'r0,r1'], 'cold counts as not holding');
  t.same(held, ['r0']);
  t.same(
    rules.evaluate(row({ rsi: 75 }), ['r2', 'gone']).fired.map(({ name }) => name),
    ['r0', 'r1'],
  );
  t.end();
});

void test('a condition without a value fails on that row alone', (t) => {
  const rules = rulesOf(
    { condition: '1 / (rsi > 50 ? 0 : 1) == 1', mode: 'edge' },
    { condition: 'rsi > 50' },
  );
  const { fired, failed, held } = rules.evaluate(row({ rsi: 60 }), ['r0']);
  t.same([fired.map(({ name }) => name), failed.map(({ name }) => name), held], [['r1'], ['r0'], []]);
  t.match(rules.evaluate(row({ rsi: 40 }), []), { fired: [{ name: 'r0' }], failed: [] });
  t.throws(() => rules.evaluate({ price: 1, values: new Float64Array(3) }, []), /3 features, not 4/);
  t.end();
});

void test('a condition reaches nothing but its variables', (t) => {
  const conditions = new Conditions(FEATURES);
  for (const text of [
    'constructor',
    'rsi.constructor == 1',
    'rsi["constructor"]',
    '__proto__ == 1',
    'this.rsi > 1',
    'globalThis',
    'process.env',
    'cel.bind(x, 1, x > 0)',
    'google',
    'int',
    'type(rsi) == double',
    'double("1") > rsi',
    'timestamp("2025-01-01T00:00:00Z") > timestamp(0)',
    'has(rsi.x)',
    '[1, 2].all(x, [1, 2].all(y, x > y))',
    '{"a": 1}.exists(k, true)',
    '"a".matches("(a+)+$")',
    'dyn(rsi) == "x"',
    'rsi in [1.0]',
    'b"x" == b"x"',
    'size("x") > 0',
    '[rsi][0] > 1',
    'optional.of(1).hasValue()',
  ]) {
    const found = conditions.compile(text);
    t.ok(Array.isArray(found) && found.length > 0, text);
  }
  t.end();
});

void test('any text is a condition or a mistake with a place in it', (t) => {
  const token = fc.constantFrom(
    ...'rsi momentum foo 1 2.5 0 true ( ) + - * / % < <= == != ! && || ? : . , [ ] { } in "x" null abs all \\'.split(
      ' ',
    ),
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(token, { maxLength: 30 }).map((tokens) => tokens.join(' ')),
  );
  const conditions = new Conditions(FEATURES);
  fc.assert(
    fc.property(text, (given) => {
      const found = conditions.compile(given);
      if (Array.isArray(found))
        return found.length > 0 && found.every(({ at }) => at >= 0 && at <= given.length);
      try {
        return typeof found.holds({ rsi: 1, momentum: 2 }) === 'boolean';
      } catch (error) {
        return (error as Error).name === 'EvaluationError';
      }
    }),
    { numRuns: 2000 },
  );
  t.end();
});

void test('conditions over doubles agree with JavaScript', (t) => {
  const { comparison } = fc.letrec<{ number: string; comparison: string }>((tie) => ({
    number: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('rsi', 'momentum', '0.5', '2.0', '70.0'),
      fc
        .tuple(tie('number'), fc.constantFrom('+', '-', '*', '/'), tie('number'))
        .map(([a, op, b]) => `(${a} ${op} ${b})`),
      fc.tuple(tie('comparison'), tie('number'), tie('number')).map(([c, a, b]) => `(${c} ? ${a} : ${b})`),
    ),
    comparison: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc
        .tuple(tie('number'), fc.constantFrom('<', '<=', '>', '>=', '==', '!='), tie('number'))
        .map(([a, op, b]) => `${a} ${op} ${b}`),
      fc
        .tuple(tie('comparison'), fc.constantFrom('&&', '||'), tie('comparison'))
        .map(([a, op, b]) => `(${a} ${op} ${b})`),
      tie('comparison').map((c) => `!(${c})`),
    ),
  }));
  const conditions = new Conditions(FEATURES);
  const number = fc.double({ noNaN: true, min: -100, max: 100 });
  let compared = 0;
  fc.assert(
    fc.property(comparison, number, number, (text, rsi, momentum) => {
      const found = conditions.compile(text);
      if (Array.isArray(found)) return /more than|characters/.test(found[0].problem);
      compared += 1;
      // eslint-disable-next-line typescript/no-implied-eval
      const js = new Function('rsi', 'momentum', `return ${text}`) as (
        rsi: number,
        momentum: number,
      ) => boolean;
      return found.holds({ rsi, momentum }) === js(rsi, momentum);
    }),
    { numRuns: 1000 },
  );
  t.ok(compared > 500, String(compared));
  t.end();
});
