import { appendFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import {
  ModelPool,
  type ModelPoolOptions,
  type ModelRow,
} from '../../../../../src/stream/inference/model/pool.ts';
import { ModelError } from '../../../../../src/stream/inference/model/file.ts';
import { ModelProcess } from '../../../../../src/stream/inference/model/process.ts';
import { TestMeter } from '../../../../support/bus/meter.ts';
import { modelFolder, TROUBLED, writeModel } from '../../../../support/models/folder.ts';
import {
  DOUBLE,
  FLOAT,
  identityModel,
  INT64,
  softmaxModel,
  troubledModel,
  TROUBLES,
  value,
} from '../../../../support/models/onnx.ts';
import { until } from '../../../../support/until.ts';

const HANG = 1e15;

/** @param trouble by its name; the rest of the row is in order */
function row(v: number, trouble: Partial<Record<(typeof TROUBLES)[number], number>> = {}): ModelRow {
  return {
    price: 100,
    values: Float64Array.from(TROUBLES, (name) => (name === 'v' ? v : (trouble[name] ?? 0))),
  };
}

async function open(t: Test, path: string, more: Partial<ModelPoolOptions> = {}): Promise<ModelPool> {
  const pool = await ModelPool.open({ path, features: TROUBLES, timeoutMs: 20_000, ...more });
  t.teardown(() => pool.stop());
  return pool;
}

const valuesOf = async (pool: ModelPool, rows: readonly ModelRow[]): Promise<(number | undefined)[]> =>
  (await pool.predict(rows)).map((prediction) => prediction?.value);

void test('rows have the predictions of their model, in order, and cold ones have none', async (t) => {
  const folder = await modelFolder(t);
  const path = await writeModel(folder, 'm', troubledModel(2), TROUBLED);
  const pool = await open(t, path, { workers: 2 });
  t.strictSame(await valuesOf(pool, [row(1), row(Number.NaN), row(-0.1)]), [2, undefined, -0.2]);
  t.strictSame(await valuesOf(pool, []), []);
  const many = Array.from({ length: 2_345 }, (_, at) => row(at % 7 === 0 ? Number.NaN : at));
  t.strictSame(
    await valuesOf(pool, many),
    many.map((_, at) => (at % 7 === 0 ? undefined : at * 2)),
  );
  t.match((await pool.predict([row(1)]))[0], { score: null, probabilities: null, model: { version: '1' } });
});

void test('a classifier: the class, its probability, and price among the features', async (t) => {
  const folder = await modelFolder(t);
  const side = {
    name: 'sign',
    version: '7',
    features: ['a', 'price', 'b'],
    output: 'probabilities',
    classes: [-1, 0, 1],
  };
  const path = await writeModel(folder, 'm', softmaxModel(), side);
  const pool = await open(t, path, { features: ['b', 'unused', 'a'] });
  const [first, second, cold] = await pool.predict([
    { price: 2, values: Float64Array.of(1, Number.NaN, 3) },
    { price: 2, values: Float64Array.of(9, 0, -3) },
    { price: Number.NaN, values: Float64Array.of(9, 0, -3) },
  ]);
  const sum = Math.exp(3) + Math.exp(2) + Math.exp(1);
  t.match(first, { value: -1, model: { name: 'sign', version: '7' } });
  t.ok(Math.abs((first?.score ?? 0) - Math.exp(3) / sum) < 1e-12);
  t.equal(second?.value, 1);
  t.equal(cold, null);
  // with an output of its own for the decision
  const places = { ...side, classes: [0, 1, 2], label_output: 'label' };
  const labelled = await open(t, await writeModel(folder, 'l', softmaxModel(), places), {
    features: ['a', 'b'],
  });
  t.match(await labelled.predict([{ price: 5, values: Float64Array.of(0, 0) }]), [{ value: 1 }]);
  // whose decisions are no classes of the description
  const others = { ...side, label_output: 'label' };
  await t.rejects(
    ModelPool.open({
      path: await writeModel(folder, 'o', softmaxModel(), { ...others, classes: [5, 6, 7] }),
      features: ['a', 'b'],
    }),
    { message: /o\.onnx: label is 0: classes are 5, 6, 7$/ },
  );
});

void test('a call that hangs ends with its process, which is replaced; so does one that is killed', async (t) => {
  const meter = new TestMeter();
  const started: ModelProcess[] = [];
  const path = await writeModel(await modelFolder(t), 'm', troubledModel(), TROUBLED);
  const pool = await open(t, path, {
    timeoutMs: 300,
    meter,
    start: async (file) => {
      const process = await ModelProcess.start(file);
      started.push(process);
      return process;
    },
  });
  await t.rejects(pool.predict([row(1), row(2, { loops: HANG })]), { kind: 'timeout', message: /300 ms/ });
  await started[0]?.ended;
  t.throws(() => process.kill(started[0]?.pid ?? 0, 0), { code: 'ESRCH' }, 'nothing of it goes on computing');
  const answer = await until('it predicts again', () => valuesOf(pool, [row(3)]).catch(() => null));
  t.strictSame(answer, [3]);
  t.equal(started.length, 2);
  process.kill(started[1]?.pid ?? 0, 'SIGABRT');
  await until('it is replaced', () => started.length === 3);
  t.strictSame(await until('it predicts again', () => valuesOf(pool, [row(4)]).catch(() => null)), [4]);
  t.equal(meter.values.get('model_processes_replaced_total{}'), 2);
});

void test('what a model throws, NaN and a wrong shape are failures, and cost no process', async (t) => {
  const meter = new TestMeter();
  const path = await writeModel(await modelFolder(t), 'm', troubledModel(), TROUBLED);
  const pool = await open(t, path, { meter });
  await t.rejects(pool.predict([row(1, { throws: 1 })]), {
    kind: 'threw',
    message: /out of (data )?bounds|range/i,
  });
  await t.rejects(pool.predict([row(1), row(1, { nan: -1 })]), { kind: 'not_finite', message: 'out is NaN' });
  await t.rejects(pool.predict([row(1e308, { more: 0 }), row(1, { more: 2 })]), {
    kind: 'wrong_shape',
    message: 'out: wanted 1 number(s) for a row, found float64 [3, 1]',
  });
  await t.rejects(pool.predict([row(1, { more: -1 })]), {
    kind: 'wrong_shape',
    message: /found float64 \[0, 1\]/,
  });
  t.strictSame(await valuesOf(pool, [row(5)]), [5]);
  t.equal(meter.values.get('model_processes_replaced_total{}'), undefined);
  pool.stop();
  await t.rejects(pool.predict([row(1)]), { message: 'the model takes no further calls' });
});

void test('a new file is read when it changed, and one that is wrong changes nothing', async (t) => {
  const folder = await modelFolder(t);
  const meter = new TestMeter();
  const lines: string[] = [];
  const path = await writeModel(folder, 'm', troubledModel(1), TROUBLED);
  const pool = await open(t, path, {
    meter,
    env: { log: (level, message) => lines.push(`${level} ${message}`) },
  });
  const look = async (): Promise<number | undefined> => {
    await pool.look();
    await pool.look();
    return (await valuesOf(pool, [row(1)]))[0];
  };
  t.equal(await look(), 1);
  await writeModel(folder, 'm', troubledModel(2), { ...TROUBLED, version: '2' });
  await pool.look();
  t.equal(pool.model.version, '1', 'one look is not enough: the file may be half written');
  t.equal(await look(), 2);
  t.equal(pool.model.version, '2');

  for (const [broken, side] of [
    [new Uint8Array(100), TROUBLED],
    [troubledModel(3), { ...TROUBLED, digest: `sha256:${'0'.repeat(64)}` }],
    [troubledModel(3), { ...TROUBLED, features: ['v'] }],
    [troubledModel(3), { ...TROUBLED, features: [...TROUBLES.slice(1), 'unheard_of'] }],
    [troubledModel(3), 'not json'],
  ] as const) {
    await writeModel(folder, 'm', broken, side);
    t.equal(await look(), 2);
  }
  t.equal(meter.values.get('errors_total{component=inference,reason=model_file}'), 5);
  t.equal(meter.values.get('model_loads_total{result=refused}'), 5);
  t.equal(
    lines.filter((line) => line === 'error The model file is wrong: the model before it stays').length,
    5,
  );
  t.equal(await look(), 2, 'and it is not said twice');
  t.equal(lines.length, 6);

  await writeModel(folder, 'm', troubledModel(4), { ...TROUBLED, version: '4' });
  const during = pool.predict(Array.from({ length: 1_500 }, () => row(1)));
  t.equal(await look(), 4);
  t.ok((await during).every((prediction) => prediction?.value === 2 || prediction?.value === 4));
  const past = new Date(0);
  await utimes(path, past, past);
  t.equal(await look(), 4, 'the same content is the same model');
  t.equal(meter.values.get('model_loads_total{result=loaded}'), 2);
});

const matrix = (type = DOUBLE, width: number | string = 2): Record<string, unknown> =>
  value('x', type, ['n', width]);

void test('what is said of a model that cannot be used', async (t) => {
  const folder = await modelFolder(t);
  const out = value('y', DOUBLE, ['n', 'm']);
  const side = { name: 'm', version: '1', features: ['a', 'b'], output: 'y' };
  const refused = async (
    name: string,
    bytes: Uint8Array,
    description: typeof side | object | string | null,
  ): Promise<string> => {
    const path = await writeModel(folder, name, bytes, description as typeof side);
    const error: unknown = await ModelPool.open({ path, features: ['a', 'b', 'c'] }).then(
      (pool) => pool.stop(),
      (failure: unknown) => failure,
    );
    t.ok(error instanceof ModelError, `${name}: ${String(error)}`);
    const { message } = error as ModelError;
    t.notMatch(message, /\n/);
    return message.replaceAll(`${folder}/`, '');
  };
  const good = identityModel(matrix(), out);
  t.equal(
    await refused('type', identityModel(value('x', INT64, ['n', 2]), value('y', INT64, ['n', 2])), side),
    'type.onnx: wanted one input, float32 or float64 [rows, 2] (2 features), found x: int64 [n, 2]; ' +
      'wanted y to be the number, float32 or float64 [rows, 1], found y: int64 [n, 2]',
  );
  t.match(
    await refused('width', identityModel(matrix(DOUBLE, 3), value('y', DOUBLE, ['n', 3])), side),
    /2 features\), found x: float64 \[n, 3\]/,
  );
  t.match(await refused('input', good, { ...side, input: 'z' }), /wanted one input z, .* found x: float64/);
  t.match(
    await refused('output', good, { ...side, output: 'z' }),
    /wanted an output z, found y: float64 \[n, (m|2)\]/,
  );
  t.match(
    await refused('classes', identityModel(matrix(FLOAT), value('y', FLOAT, ['n', 2])), {
      ...side,
      classes: [0, 1, 2],
    }),
    /probabilities of 3 classes, float32 or float64 \[rows, 3\], found y: float32 \[n, 2\]/,
  );
  t.match(
    await refused('free', identityModel(matrix(DOUBLE, 'w'), out), { ...side, classes: [0, 1, 2] }),
    /y: wanted 3 number\(s\) for a row, found float64 \[1, 2\]/,
    'a graph that does not say its shapes is tried',
  );
  t.match(await refused('bytes', Uint8Array.of(1, 2, 3), side), /^bytes\.onnx: .*(protobuf|load model)/i);
  t.match(
    await refused('none', good, null),
    /^none\.onnx has neither a side file none\.json nor the metadata mdp_model/,
  );
  t.match(await refused('nobytes', Uint8Array.of(1, 2, 3), null), /^nobytes\.onnx is not an ONNX model$/);
  t.match(await refused('json', good, '{'), /^json\.json is not JSON: /);
  t.match(
    await refused('keys', good, { ...side, features: ['a', 'a'], clases: [1] }),
    /^keys\.json features: has a name twice; .*clases/,
  );
  t.match(
    await refused('digest', good, { ...side, digest: `sha256:${'1'.repeat(64)}` }),
    /^digest\.json is of another model: wanted sha256:1+, found sha256:\w+ of digest\.onnx$/,
  );
  t.equal(
    await refused('names', good, { ...side, features: ['a', 'x', 'y'] }),
    'names.onnx needs features that are not computed: x, y (computed: a, b, c, price)',
  );
  await t.rejects(ModelPool.open({ path: join(folder, 'absent.onnx'), features: [] }), {
    message: /absent\.onnx does not exist$/,
  });
  await t.rejects(ModelPool.open({ path: join(folder, 'm.pkl'), features: [] }), {
    message:
      /m\.pkl is a pickle, which is never loaded here: run "mdp models convert .*m\.pkl" and name its .*m\.onnx$/,
  });
  const inside = identityModel(value('x', FLOAT, ['n', 1]), value('y', FLOAT, ['n', 1]), {
    mdp_model: JSON.stringify({ ...side, features: ['a'] }),
  });
  const path = await writeModel(folder, 'inside', inside, null);
  const pool = await open(t, path, { features: ['a'] });
  t.match(
    await pool.predict([{ price: 1, values: Float64Array.of(0.1) }]),
    [{ value: Math.fround(0.1) }],
    'described in its metadata',
  );
  await appendFile(path, 'x');
  await writeFile(join(folder, 'inside.json'), JSON.stringify({ ...side, features: ['a'] }));
  await pool.look();
  await pool.look();
  t.equal(pool.model.version, '1', 'it goes on with what it has');
});
