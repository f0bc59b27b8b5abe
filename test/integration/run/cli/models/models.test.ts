import { copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { registerConfig } from '../../../../../src/run/cli/config.ts';
import { registerModels } from '../../../../../src/run/cli/models/models.ts';
import { ModelPool } from '../../../../../src/stream/inference/model/pool.ts';
import { modelFolder } from '../../../../support/models/folder.ts';
import { noScikitLearn, PYTHON, trainModels } from '../../../../support/models/python.ts';
import { runInProcess, type Outcome } from '../../../../support/run/command-in-process.ts';

const skip = noScikitLearn();
const TOLERANCE = 1e-6;
const FEATURES = ['ret_30s', 'rsi', 'spread_bps', 'price'];

const models = (...args: readonly string[]): Promise<Outcome> =>
  runInProcess(registerModels, 'models', ...args);
const convert = (...args: readonly string[]): Promise<Outcome> =>
  models('convert', '--python', PYTHON, ...args);

async function table(path: string): Promise<Record<string, number>[]> {
  const [header, ...lines] = (await readFile(path, 'utf8')).trim().split('\n');
  const names = header.split(',');
  return lines.map((line) => {
    const cells = line.split(',').map((cell) => (cell === '' ? Number.NaN : Number(cell)));
    return Object.fromEntries(names.map((name, at) => [name, cells[at]]));
  });
}

void test('models of scikit-learn, converted, predict what they predicted', { skip }, async (t) => {
  const folder = await modelFolder(t);
  await trainModels(folder);
  const at = (name: string): string => join(folder, name);
  const scores = JSON.parse(await readFile(at('metrics.json'), 'utf8')) as Record<string, object>;

  for (const name of ['logistic', 'boosted', 'trees']) {
    await t.test(name, async (t) => {
      const done = await convert(at(`${name}.pkl`), '--data', at(`${name}.csv`), '--json');
      t.match(done, { code: 0, err: '' });
      t.match(JSON.parse(done.out), { name, features: FEATURES, about: { rows_compared: 1_499 } });
      const pool = await ModelPool.open({
        path: at(`${name}.onnx`),
        features: FEATURES.slice(0, 3),
        timeoutMs: 60_000,
      });
      t.teardown(() => pool.stop());
      const rows = await table(at(`${name}.csv`));
      const predictions = await pool.predict(
        rows.map((row) => ({
          price: row['price'],
          values: Float64Array.from(FEATURES.slice(0, 3), (name) => row[name]),
        })),
      );
      let worst = 0;
      for (const [at, prediction] of predictions.entries()) {
        const row = rows[at];
        if (Number.isNaN(row['rsi'])) t.equal(prediction, null);
        if (prediction === null) continue;
        const { classes } = pool.model;
        worst = Math.max(
          worst,
          Math.abs(prediction.value - row['said']) / Math.max(1, Math.abs(row['said'])),
        );
        for (const [place, probability] of (prediction.probabilities ?? []).entries())
          worst = Math.max(worst, Math.abs(probability - row[`p${place}`]));
        t.equal(prediction.score, classes === null ? null : Math.max(...(prediction.probabilities ?? [])));
      }
      t.ok(worst <= TOLERANCE, `differs by ${worst}`);
      t.comment(`${name}: greatest difference ${worst}`);
      const scored = await models(
        'score',
        '--data',
        at(`${name}.csv`),
        '--label',
        'followed',
        '--model',
        at(`${name}.onnx`),
        '--json',
      );
      t.match(scored, { code: 0, err: '' });
      close(t, { left_out: 2, rows: 1_498, ...scores[name] }, JSON.parse(scored.out));
    });
  }

  await t.test(
    'a pipeline that names columns; name, version and place are chosen, and text is for people',
    async (t) => {
      const done = await convert(
        at('columns.pkl'),
        '--output',
        at('new/other.onnx'),
        '--signal',
        'mean_revert',
        '--model-version',
        'v9',
      );
      t.match(done, { code: 0, err: '' });
      t.match(
        done.out,
        /other\.onnx and .*other\.json: signal mean_revert, version v9, classes -1, 0, 1 of ret_30s, .*; inputs float64 by column/,
      );
      t.match(done.out, /\ngreatest difference of 1000 rows: \d\.\d\de[-+]\d+\n$/);
      t.strictSame(
        (await readdir(at('new'))).sort(),
        ['other.json', 'other.onnx'],
        'and nothing half written',
      );
      const text = await models(
        'score',
        '--data',
        at('logistic.csv'),
        '--label',
        'followed',
        '--model',
        at('new/other.onnx'),
      );
      t.match(
        text.out,
        /version v9: 1498 rows compared, 2 left out\naccuracy 0\.\d+, area under the ROC curve 0\.\d+, Brier score 0\.\d+\nclass +followed +predicted +right\n +-1 /,
      );
    },
  );

  await t.test('what cannot be converted is said in one line, and nothing is written', async (t) => {
    const refused = async (said: RegExp, ...args: readonly string[]): Promise<void> => {
      const before = await readdir(folder);
      const { code, err, out } = await convert(...args);
      t.match({ code, out }, { code: 1, out: '' });
      t.match(err, said);
      t.match(err, /^mdp models convert: [^\n]+\n$/);
      t.strictSame(await readdir(folder), before);
    };
    await refused(/classes are buy, sell: fit it on numbers/, at('words.pkl'));
    await refused(/has 4 features, and 2 names are given: a,b/, at('array.pkl'), '--features', 'a,b');
    await refused(
      /metrics\.json lacks ret_30s, rsi, spread_bps, price/,
      at('logistic.pkl'),
      '--data',
      at('metrics.json'),
      '--output',
      at('r.onnx'),
    );
    const bare = await models('convert', at('trees.pkl'), '--python', at('no-python'));
    t.match(bare, { code: 1, err: /there is no .*no-python: install Python 3, or name it with --python\n$/ });
    await writeFile(
      at('shell'),
      '#!/bin/sh\necho warned >&2\necho "python lacks skl2onnx: python3 -m pip install it" >&2\nexit 1\n',
      { mode: 0o755 },
    );
    t.match(await models('convert', at('trees.pkl'), '--python', at('shell')), {
      code: 1,
      err: 'mdp models convert: python lacks skl2onnx: python3 -m pip install it\n',
    });
    t.match(await convert(at('trees.pkl'), '--output', at('x.pkl')), {
      code: 2,
      err: /is no name for an ONNX model/,
    });
  });

  await t.test('mdp config check loads what is enabled, and knows which features are computed', async (t) => {
    const file = at('streaming.yaml');
    const check = async (adapter: string): Promise<Outcome> => {
      await writeFile(file, `version: 1\ninference:\n  adapters:\n    ${adapter}\n`);
      return runInProcess(registerConfig, 'config', 'check', '--config', file);
    };
    t.match(await check(`sklearn: { enabled: true, model_path: ${at('logistic.onnx')} }`), {
      code: 0,
      out: /logistic\.onnx is right: signal logistic, version \w{12}, 4 feature\(s\)\n$/,
    });
    t.match(await check(`onnx: { enabled: true, model_path: ${at('none.onnx')} }`), {
      code: 1,
      err: /^inference\.adapters\.onnx\.model_path: .*none\.onnx does not exist\n$/,
    });
    t.match(await check(`onnx: { enabled: false, model_path: ${at('none.onnx')} }`), { code: 0 });
    t.match(await check(`sklearn: { enabled: true, model_path: ${at('logistic.pkl')} }`), {
      code: 1,
      err: /streaming\.yaml:4: inference\.adapters\.sklearn\.model_path is a pickle, .*run "mdp models convert .*logistic\.pkl"/,
    });
    const side = JSON.parse(await readFile(at('logistic.json'), 'utf8')) as { features: string[] };
    await copyFile(at('logistic.onnx'), at('renamed.onnx'));
    await writeFile(
      at('renamed.json'),
      JSON.stringify({ ...side, features: ['ret_30s', 'rsi', 'spred_bps', 'price'] }),
    );
    t.match(await check(`onnx: { enabled: true, model_path: ${at('renamed.onnx')} }`), {
      code: 1,
      err: /needs features that are not computed: spred_bps \(computed: vwap, .*vol_5m, price\)\n$/,
    });
    await rm(file);
  });

  await t.test('what cannot be scored', async (t) => {
    const score = (...args: readonly string[]): Promise<Outcome> =>
      models('score', '--model', at('logistic.onnx'), '--data', at('logistic.csv'), ...args);
    t.match(await score('--label', 'ret_60s@+60s'), {
      code: 1,
      err: /logistic\.csv lacks ret_60s@\+60s \(it has ret_30s,/,
    });
    t.match(await score('--label', 'rsi'), { code: 1, err: /is none of the classes -1, 0, 1\n$/ });
    const { code, out } = await score('--label', 'ret_30s', '--threshold', '0.001', '--json');
    const { perClass } = JSON.parse(out) as { perClass: { class: number; followed: number }[] };
    const moves = (await table(at('logistic.csv')))
      .filter((row) => Number.isFinite(row['rsi']))
      .map((row) => row['ret_30s']);
    t.equal(code, 0);
    t.strictSame(
      perClass.map((each) => each.followed),
      [
        moves.filter((x) => x < -0.001).length,
        moves.filter((x) => Math.abs(x) <= 0.001).length,
        moves.filter((x) => x > 0.001).length,
      ],
    );
    t.match(await score('--label', 'rsi', '--threshold', '-1'), { code: 2, err: /Expected a number from 0/ });
  });
});

/** Numbers within 1e-6, everything else equal. */
function close(
  t: { ok: (value: boolean, message: string) => unknown },
  wanted: unknown,
  found: unknown,
  path = '',
): void {
  if (typeof wanted === 'number') {
    t.ok(
      typeof found === 'number' && Math.abs(found - wanted) <= TOLERANCE,
      `${path}: wanted ${wanted}, found ${String(found)}`,
    );
    return;
  }
  for (const [key, value] of Object.entries(wanted as object))
    close(t, value, (found as Record<string, unknown>)[key], `${path}.${key}`);
}
