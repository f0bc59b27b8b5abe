import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { RulesError, type RulesMistake } from '../../../../../src/stream/inference/rules/mistakes.ts';
import { parseRules } from '../../../../../src/stream/inference/rules/parse.ts';

const FEATURES = ['momentum', 'volatility', 'rsi', 'vwap_1m'];
const KNOWN = 'known are momentum, price, rsi, volatility, vwap_1m';

/** Seed 001 §8.1, as it stands there. */
const SEED = `- name: "price_momentum_up"
  condition: "momentum > 0.01"
  signal: 1.0
  score: 0.8

- name: "price_momentum_down"
  condition: "momentum < -0.01"
  signal: -1.0
  score: 0.8

- name: "high_volatility"
  condition: "volatility > 0.3"
  signal: 0.0
  score: 0.9

- name: "rsi_overbought"
  condition: "rsi > 70"
  signal: -1.0
  score: 0.7

- name: "rsi_oversold"
  condition: "rsi < 30"
  signal: 1.0
  score: 0.7
`;

function mistakes(text: string): readonly RulesMistake[] {
  try {
    parseRules('rules.yaml', text, FEATURES);
  } catch (error) {
    if (error instanceof RulesError) return error.mistakes;
    throw error;
  }
  return [];
}

/** One rule with this condition, which begins in line 2, column 14. */
const rule = (condition: string): string => `- name: a\n  condition: ${condition}\n  signal: 1\n`;

void test('the shipped file is that of the seed with comments', (t) => {
  const shipped = readFileSync(new URL('../../../../../configs/rules.yaml', import.meta.url), 'utf8');
  const [comments, rules] = [/^(?:#.*\n)*/.exec(shipped)?.[0] ?? '', shipped.replace(/^(?:#.*\n)*/, '')];
  t.equal(rules, SEED);
  for (const word of ['mode', 'level', 'edge', 'score', 'condition']) t.match(comments, word);
  t.same(
    parseRules('rules.yaml', shipped, FEATURES).rules.map(({ name, signal, score, mode, variables }) => [
      name,
      signal,
      score,
      mode,
      variables,
    ]),
    [
      ['price_momentum_up', 1, 0.8, 'level', ['momentum']],
      ['price_momentum_down', -1, 0.8, 'level', ['momentum']],
      ['high_volatility', 0, 0.9, 'level', ['volatility']],
      ['rsi_overbought', -1, 0.7, 'level', ['rsi']],
      ['rsi_oversold', 1, 0.7, 'level', ['rsi']],
    ],
  );
  t.end();
});

void test('every kind of mistake has its line, its column and its cause', (t) => {
  const good = 'condition: "rsi > 70"\n  signal: 1\n';
  const cases: [kind: string, text: string, line: number, column: number, problem: RegExp | string][] = [
    ['an empty file', '', 1, 1, /there are no rules/],
    ['comments alone', '# none\n', 1, 1, /there are no rules/],
    ['an empty list', '\n[]\n', 2, 1, /there are no rules/],
    ['no list', 'rules:\n  - name: a\n', 1, 1, /expected a list of rules/],
    ['no rule', '- name: a\n  ' + good + '- b\n', 4, 3, /expected a rule/],
    ['YAML: a quote', '- name: a\n  condition: "rsi > 70\n', 3, 1, /^YAML: Missing closing "quote/],
    ['YAML: a tab', '\t- name: a\n', 1, 1, /^YAML: Tabs/],
    ['YAML: a key twice', '- name: a\n  name: b\n  ' + good, 2, 3, /^YAML: Map keys must be unique/],
    ['YAML: two documents', `${rule('rsi > 1')}---\n`, 4, 1, /^YAML: .*multiple documents/],
    ['YAML: a colon', rule('rsi > 70 ? rsi > 80: true'), 2, 14, /^YAML: .*put the condition in quotes/],
    [
      'an unknown key',
      '- name: a\n  ' + good + '  sore: 1\n',
      4,
      3,
      /^sore is not a key.*name, condition, signal, score, mode$/,
    ],
    ['no name', '- ' + good, 1, 3, 'has no name'],
    ['an empty name', '- name:\n  ' + good, 1, 3, 'has no name'],
    ['a number as name', '- name: 5\n  ' + good, 1, 9, 'name must be text: put it in quotes'],
    ['a name with blanks', '- name: a b\n  ' + good, 1, 9, /letters, digits/],
    ['the name of a feature', '- name: rsi\n  ' + good, 1, 9, /name of a feature/],
    ['a name twice', `${rule('rsi > 1')}\n${rule('rsi > 2')}`, 5, 9, 'has the name of the rule in line 1'],
    ['no condition', '- name: a\n  signal: 1\n', 1, 3, 'has no condition'],
    ['an empty condition', rule('""'), 2, 15, 'the condition is empty'],
    ['a number as condition', rule('70'), 2, 14, 'condition must be text: put it in quotes'],
    ['no signal', '- name: a\n  condition: "rsi > 70"\n', 1, 3, /has no signal/],
    [
      'signal is text',
      rule('rsi > 1').replace('signal: 1', 'signal: "1"'),
      3,
      11,
      'signal must be a number, not text',
    ],
    [
      'signal is infinite',
      rule('rsi > 1').replace('signal: 1', 'signal: 1e999'),
      3,
      11,
      'signal must be finite',
    ],
    ['score out of range', `${rule('rsi > 1')}  score: 1.5\n`, 4, 10, 'score must be from 0 to 1'],
    ['score is NaN', `${rule('rsi > 1')}  score: .nan\n`, 4, 10, 'score must be a number'],
    ['score is empty', `${rule('rsi > 1')}  score:\n`, 4, 3, 'score must be a number'],
    ['an unknown mode', `${rule('rsi > 1')}  mode: egde\n`, 4, 9, 'mode must be level or edge'],
    ['CEL: an end too early', rule('"rsi >"'), 2, 20, 'the condition ends where a value is missing'],
    ['CEL: a parenthesis', rule('(rsi > 70'), 2, 23, 'Expected RPAREN before the end of the condition'],
    ['CEL: =', rule('rsi = 70'), 2, 18, /unexpected character: = /],
    ['CEL: and', rule('rsi > 70 and rsi < 80'), 2, 23, /Unexpected character/],
    ['types: a comparison', rule('1 < rsi < 3'), 2, 14, 'no such overload: bool < int'],
    ['types: an operand', rule('rsi > 70 && !momentum'), 2, 26, 'no such overload: !double'],
    ['types: a branch', rule('"rsi > (true ? 1 : rsi)"'), 2, 22, /Ternary branches must have the same type/],
    ['not boolean: a number', rule('rsi + 1'), 2, 14, 'the condition is double, not true or false'],
    ['an unknown variable', rule('"rsi > 70 && rsii > 3"'), 2, 27, `unknown variable rsii; ${KNOWN}`],
    ['an unknown one in capitals', rule("'RSI > 70'"), 2, 15, `unknown variable RSI; ${KNOWN}`],
    ['text', rule(`'rsi > "x"'`), 2, 21, /only numbers, true and false/],
    ['null', rule('rsi != null'), 2, 21, /only numbers, true and false/],
    ['a call', rule('rsi > 1 && abs(rsi) > 2'), 2, 25, /calls no functions, and not abs\(\)/],
    ['a list', rule('rsi in [70.0]'), 2, 14, /no lists/],
    ['too long', rule(`"${'rsi > 1 || '.repeat(100)}true"`), 2, 15, /has 1104 characters; at most 1000/],
    ['too many parts', rule(`"${'rsi>1||'.repeat(60)}true"`), 2, 369, /more than 200 parts/],
    ['too deep', rule(`${'('.repeat(40)}rsi > 1${')'.repeat(40)}`), 2, 46, /nested more than 32 deep/],
  ];
  for (const [kind, text, line, column, problem] of cases) {
    const [first, ...others] = mistakes(text);
    t.match(first, { line, column, problem }, `${kind}: ${JSON.stringify(first)}`);
    if (kind !== 'YAML: a tab') t.same(others, [], `${kind}: nothing else`);
  }
  t.end();
});

void test('a place in a condition is found through quotes, escapes and blocks', (t) => {
  const places: [condition: string, line: number, column: number][] = [
    ["'rsi > foo'", 2, 21],
    ['>-\n    rsi > 70\n    && foo > 1', 4, 8],
    ['|\n    rsi > 70 &&\n\n    (foo > 3)', 5, 6],
    ['rsi > 70 &&\n    foo > 1', 3, 5],
    ['"rsi > 70 && \\\n    foo > 1"', 3, 5],
    ['"rsi\\t>\\tfoo"', 2, 23],
    ['"rsi \\u003e foo"', 2, 14], // an escape that stands for what is looked for: the condition itself
  ];
  for (const [condition, line, column] of places) {
    t.match(
      mistakes(rule(condition)),
      [{ line, column, rule: 'a', problem: /^unknown variable foo/ }],
      condition,
    );
  }
  t.end();
});

void test('all mistakes are said at once, in the order of the file', (t) => {
  const text = `- name: up
  condition: "momentun > 0.01 || foo > 1"
  signal: up
- name: down
  mode: sometimes
`;
  t.throws(
    () => parseRules('configs/rules.yaml', text, FEATURES),
    new RulesError('configs/rules.yaml', [
      { line: 2, column: 15, rule: 'up', problem: `unknown variable momentun; ${KNOWN}` },
      { line: 2, column: 34, rule: 'up', problem: `unknown variable foo; ${KNOWN}` },
      { line: 3, column: 11, rule: 'up', problem: 'signal must be a number, not text' },
      { line: 4, column: 3, rule: 'down', problem: 'has no condition' },
      { line: 4, column: 3, rule: 'down', problem: 'has no signal, the value of what it sends' },
      { line: 5, column: 9, rule: 'down', problem: 'mode must be level or edge' },
    ]),
  );
  t.match(mistakes(text).length, 6);
  try {
    parseRules('configs/rules.yaml', '- b', FEATURES);
  } catch (error) {
    t.equal(
      (error as Error).message,
      'A mistake in configs/rules.yaml:\n  configs/rules.yaml:1:3: expected a rule with name, condition and signal',
    );
  }
  t.end();
});
