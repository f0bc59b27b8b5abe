import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { Command, type CommanderError } from 'commander';
import { test, type Test } from 'tap';
import { exitCodeOf } from '../../../../../src/run/cli/arguments.ts';
import { registerConfig } from '../../../../../src/run/cli/config.ts';
import { registerRules } from '../../../../../src/run/cli/rules/rules.ts';

const CSV = `provider,symbol,ts,price,momentum,rsi,ret_30s@+60s,replay_run_id
ibkr,SPY,2025-10-24T14:02:02.000000Z,425.15,,75,,
ibkr,SPY,2025-10-24T14:02:04.000000Z,425.2,0.02,71,0.1,
ibkr,"BRK, ""B""",2025-10-24T14:02:04.000000Z,700,-0.02,NaN,0.1,
ibkr,SPY,2025-10-24T14:02:02.000000Z,425.15,0.02,1e1,,7
ibkr,SPY,2025-10-24T14:02:06.000000Z,425.2,0.02,72,0.1,
`;
const RULES = `- name: up
  condition: "momentum > 0.01"
  signal: 1
  score: 0.8
- name: hot
  condition: "rsi > 70"
  signal: -1
  mode: edge
`;

/** A field of CSV as JSON has it. */
const jsonNumber = (text: string): number | null => (text === '' || text === 'NaN' ? null : Number(text));

class Folder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(t: Test): Promise<Folder> {
    const path = await mkdtemp(join(tmpdir(), 'rules-test-'));
    t.after(() => rm(path, { recursive: true, force: true }));
    const folder = new Folder(path);
    await folder.write('rules.yaml', RULES);
    await folder.write(
      'streaming.yaml',
      `version: 1\ninference: { adapters: { rules: { file: ${path}/rules.yaml } } }\n`,
    );
    return folder;
  }

  async write(name: string, content: string | Uint8Array): Promise<string> {
    await writeFile(join(this.path, name), content);
    return join(this.path, name);
  }

  /** `mdp …` in this process, with the configuration of the folder. */
  async mdp(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const said = { code: 0, stdout: '', stderr: '' };
    const program = new Command('mdp').exitOverride().configureOutput({
      writeOut: (text) => (said.stdout += text),
      writeErr: (text) => (said.stderr += text),
    });
    registerRules(program);
    registerConfig(program);
    try {
      await program.parseAsync([...args, '--config', join(this.path, 'streaming.yaml')], { from: 'user' });
    } catch (error) {
      said.code = exitCodeOf(error as CommanderError);
    }
    return said;
  }
}

void test('says which rules fire when', async (t) => {
  const folder = await Folder.make(t);
  const input = await folder.write('rows.csv', CSV);
  const { code, stdout, stderr } = await folder.mdp('rules', 'test', '--input', input);
  t.same([code, stderr], [0, '']);
  t.same(stdout.trimEnd().split('\n'), [
    '2025-10-24T14:02:02.000000Z ibkr SPY hot: signal -1, score none; rsi 75',
    '2025-10-24T14:02:04.000000Z ibkr SPY up: signal 1, score 0.8; momentum 0.02',
    '2025-10-24T14:02:02.000000Z ibkr SPY up: signal 1, score 0.8; momentum 0.02',
    '2025-10-24T14:02:06.000000Z ibkr SPY up: signal 1, score 0.8; momentum 0.02',
    'rule  mode   fired  cold rows  failed rows',
    'up    level      3          1            0',
    'hot   edge       1          1            0',
    `4 signal(s) from 5 row(s) by ${folder.path}/rules.yaml`,
  ]);
});

void test('CSV and NDJSON, plain and compressed, say the same with --json', async (t) => {
  const folder = await Folder.make(t);
  const ndjson = CSV.trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => {
      const quoted = line.replace('"BRK, ""B"""', 'BRK').split(',');
      const [provider, symbol, ts, price, momentum, rsi, , run] = quoted;
      const name = symbol === 'BRK' ? 'BRK, "B"' : symbol;
      return JSON.stringify({
        provider,
        symbol: name,
        ts,
        price: jsonNumber(price),
        momentum: jsonNumber(momentum),
        rsi: jsonNumber(rsi),
        replay_run_id: jsonNumber(run),
      });
    })
    .join('\n');
  const files = [
    await folder.write('a.csv', CSV),
    await folder.write('b.csv', `\uFEFF${CSV.replaceAll('\n', '\r\n')}`),
    await folder.write('c.csv.gz', gzipSync(CSV)),
    await folder.write('d.csv.zst', zstdCompressSync(CSV)),
    await folder.write('e.ndjson', ndjson),
    await folder.write('f.ndjson.gz', gzipSync(`${ndjson}\n\n`)),
  ];
  const row = { provider: 'ibkr', symbol: 'SPY' };
  for (const file of files) {
    const { code, stdout, stderr } = await folder.mdp('rules', 'test', '--json', '--input', file);
    t.same([code, stderr], [0, ''], file);
    t.strictSame(
      JSON.parse(stdout),
      {
        file: `${folder.path}/rules.yaml`,
        signals: [
          { ts: '2025-10-24T14:02:02.000000Z', ...row, name: 'hot', value: -1, score: null, price: 425.15 },
          { ts: '2025-10-24T14:02:04.000000Z', ...row, name: 'up', value: 1, score: 0.8, price: 425.2 },
          { ts: '2025-10-24T14:02:02.000000Z', ...row, name: 'up', value: 1, score: 0.8, price: 425.15 },
          { ts: '2025-10-24T14:02:06.000000Z', ...row, name: 'up', value: 1, score: 0.8, price: 425.2 },
        ],
        rows: 5,
        rules: [
          { name: 'up', mode: 'level', fired: 3, cold: 1, failed: 0 },
          { name: 'hot', mode: 'edge', fired: 1, cold: 1, failed: 0 },
        ],
      },
      file,
    );
  }
  const none = await folder.write('none.csv', CSV.split('\n', 1)[0]);
  const { code, stdout } = await folder.mdp('rules', 'test', '--json', '--input', none);
  t.match([code, JSON.parse(stdout)], [0, { signals: [], rows: 0 }]);
});

void test('input that is wrong ends with 1 and its line', async (t) => {
  const folder = await Folder.make(t);
  const row = 'ibkr,SPY,2025-10-24T14:02:08Z,1,0.1,0.2,,';
  const cases: [content: string, said: RegExp][] = [
    ['', /: .*rows.csv is empty$/m],
    [CSV.replace('momentum,rsi', 'moment,rs'), /rows\.csv:1: the header lacks momentum, rsi: /],
    [CSV.replace('provider,', 'feed,'), /rows\.csv:1: the header lacks provider: /],
    [`${CSV}ibkr,SPY\n`, /rows\.csv:7: has 2 fields, and the header 8/],
    [`${CSV}${row.replace('0.2', 'x')}`, /rows\.csv:7: rsi is no number: "x"/],
    [`${CSV}${row.replace('0.2', '0x10')}`, /rows\.csv:7: rsi is no number/],
    [`${CSV}${row.replace(',1,', ',,')}`, /rows\.csv:7: has no price/],
    [`${CSV}${row.replace('ibkr', '')}`, /rows\.csv:7: has no provider/],
    [`${CSV}${row.replace('2025-10-24T14:02:08Z', 'noon')}`, /rows\.csv:7: ts is not an ISO-8601 time/],
    [`${CSV}${row.replace('SPY', '"SPY')}`, /rows\.csv:7: a quote is not closed/],
    [
      `${CSV}${row.replace(':08', ':06')}`,
      /the row of ibkr SPY at 2025-10-24T14:02:06\.000000Z follows one of 2025-10-24T14:02:06\.000000Z/,
    ],
    ['{"provider":"a"\n', /rows\.csv:1: is no JSON object/],
    [
      '{"provider":"a","symbol":"S","ts":"2025-10-24T14:02:08Z","price":1,"rsi":true}\n',
      /rows\.csv:1: rsi is no number: true/,
    ],
  ];
  for (const [content, said] of cases) {
    const input = await folder.write('rows.csv', content);
    const { code, stderr } = await folder.mdp('rules', 'test', '--input', input);
    t.equal(code, 1, stderr);
    t.match(stderr, said);
    t.equal(stderr.trimEnd().split('\n').length, 1, stderr);
  }
  for (const [name, said] of [
    ['gone.csv', /gone\.csv cannot be read \(ENOENT\)/],
    ['gone.csv.gz', /gone\.csv\.gz cannot be read \(ENOENT\)/],
    ['rows.parquet', /only CSV and NDJSON are read/],
  ] as const) {
    const { code, stdout, stderr } = await folder.mdp(
      'rules',
      'test',
      '--json',
      '--input',
      join(folder.path, name),
    );
    t.same([code, stdout], [1, '']);
    t.match(stderr, said);
  }
});

void test('mistakes in rules, configuration and command line end with 2', async (t) => {
  const folder = await Folder.make(t);
  const input = await folder.write('rows.csv', CSV);
  const bad = await folder.write('bad.yaml', '- name: a\n  condition: "rsi > foo"\n  signal: 1\n');
  const rules = await folder.mdp('rules', 'test', '--input', input, '--rules', bad);
  t.match(rules, { code: 2, stdout: '', stderr: /bad\.yaml:2:21: rule a: unknown variable foo; known are / });
  for (const name of [
    'vwap',
    'ret',
    'momentum',
    'vol',
    'volatility',
    'rsi',
    'skewness',
    'kurtosis',
    'bollinger',
    'tick_rate_z',
    'spread_bps',
    'vwap_deviation_bps',
    'order_imbalance',
    'vp_distance_bps',
    'price',
    'vwap_1m',
    'ret_30s',
    'vol_5m',
  ])
    t.match(rules.stderr, new RegExp(`[ ,]${name}\\b`), name);
  t.match(await folder.mdp('rules', 'test'), { code: 2, stderr: /--input <file>/ });
  await folder.write('streaming.yaml', 'version: 1\nbuss: {}\n');
  t.match(await folder.mdp('rules', 'test', '--input', input), { code: 2, stderr: /:2: buss is not a key/ });
});

void test('mdp config check reads the rules as well', async (t) => {
  const folder = await Folder.make(t);
  const file = join(folder.path, 'rules.yaml');
  t.match(await folder.mdp('config', 'check'), { code: 0, stdout: `${file} is right: 2 rule(s)` });
  await folder.write('rules.yaml', RULES.replace('rsi > 70', 'rsi > '));
  t.match(await folder.mdp('config', 'check'), {
    code: 1,
    stdout: '',
    stderr: `${file}:6:20: rule hot: the condition ends where a value is missing`,
  });
  await rm(file);
  t.match(await folder.mdp('config', 'check'), { code: 1, stderr: /cannot be read \(ENOENT\)/ });
  await folder.write(
    'streaming.yaml',
    `version: 1\ninference: { adapters: { rules: { enabled: false, file: ${file} } } }\n`,
  );
  t.match(await folder.mdp('config', 'check', '--json'), { code: 0, stderr: '' });
});

void test('a window of features.windows is a variable', async (t) => {
  const folder = await Folder.make(t);
  const { path } = folder;
  await folder.write('rules.yaml', RULES.replace('rsi > 70', 'vwap_2m > price'));
  t.match(await folder.mdp('config', 'check'), { code: 1, stderr: /unknown variable vwap_2m/ });
  await folder.write(
    'streaming.yaml',
    `version: 1\nfeatures: { windows: [{ name: vwap_2m, horizon: 120s }] }\ninference: { adapters: { rules: { file: ${path}/rules.yaml } } }\n`,
  );
  t.match(await folder.mdp('config', 'check'), { code: 0 });
});
