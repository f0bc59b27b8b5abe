import { test } from 'tap';
import { Crew } from '../../../../../src/stream/inference/model/crew.ts';
import { ModelError, type ModelFile } from '../../../../../src/stream/inference/model/file.ts';
import type { Outputs } from '../../../../../src/stream/inference/model/prediction.ts';
import { testEnv } from '../../../../support/bus/env.ts';
import { FakePredictor } from '../../../../support/models/fake-predictor.ts';
import { until } from '../../../../support/until.ts';

const FILE: ModelFile = {
  path: 'm.onnx',
  bytes: new Uint8Array(),
  digest: '',
  description: {
    name: 'm',
    version: '1',
    features: ['a'],
    input: null,
    output: 'y',
    labelOutput: null,
    classes: null,
    digest: null,
  },
};

interface Started {
  crew: Crew;
  predictors: FakePredictor[];
  replaced: string[];
}

async function start(
  size: number,
  timeoutMs = 60_000,
  begin = (): FakePredictor => new FakePredictor(),
): Promise<Started> {
  const predictors: FakePredictor[] = [];
  const replaced: string[] = [];
  const crew = await Crew.start({
    file: FILE,
    size,
    timeoutMs,
    env: testEnv(),
    replaced: (why) => replaced.push(why),
    start: async () => {
      const predictor = begin();
      predictors.push(predictor);
      return predictor;
    },
  });
  return { crew, predictors, replaced };
}

const rows = (value: number): Float64Array => Float64Array.of(value);
const valueOf = async (outputs: Promise<Outputs>): Promise<number> => (await outputs).values[0];

void test('calls wait for a free process, in order, and the queue has an end', async (t) => {
  const { crew, predictors } = await start(2);
  t.teardown(() => crew.stop());
  const calls = Array.from({ length: 66 }, (_, at) => valueOf(crew.predict(rows(at))));
  await t.rejects(crew.predict(rows(66)), { kind: 'queue_full', message: '64 calls wait for the model' });
  t.strictSame(
    predictors.map(({ asked }) => asked),
    [[0], [1]],
  );
  for (let done = 0; done < 66; done += 1)
    await until('a process is asked', () => predictors.find((predictor) => predictor.answer()));
  t.strictSame(
    await Promise.all(calls),
    Array.from({ length: 66 }, (_, at) => at),
  );
});

void test('a call that takes too long ends its process; one that waited too long ends none', async (t) => {
  const { crew, predictors, replaced } = await start(1, 50);
  t.teardown(() => crew.stop());
  const [hanging, waiting] = [crew.predict(rows(1)), crew.predict(rows(2))];
  await t.rejects(hanging, { kind: 'timeout', message: 'the model gave no answer within 50 ms' });
  await t.rejects(waiting, { kind: 'timeout', message: /within 50 ms/ });
  await until('another process', () => predictors.length > 1);
  t.ok(predictors[0]?.isKilled);
  t.strictSame(replaced.slice(0, 1), ['was ended: its call took too long']);
});

void test('a process that died is replaced, and again where its successor dies or does not start', async (t) => {
  let starts = 0;
  const { crew, predictors, replaced } = await start(1, 60_000, () => {
    starts += 1;
    if (starts === 2) throw new ModelError('no memory');
    return new FakePredictor();
  });
  t.teardown(() => crew.stop());
  const call = crew.predict(rows(1));
  predictors[0]?.die('ended by SIGSEGV');
  await t.rejects(call, { kind: 'died', message: 'ended by SIGSEGV' });
  const waiting = valueOf(crew.predict(rows(2)));
  await until('it is asked', () => predictors[1]?.answer());
  t.equal(await waiting, 2);
  t.strictSame(replaced, ['ended by SIGSEGV']);
  t.equal(starts, 3);
});

void test('retired, it does what it has and ends; stopped, it ends at once', async (t) => {
  const first = await start(1);
  const calls = [valueOf(first.crew.predict(rows(1))), valueOf(first.crew.predict(rows(2)))];
  first.crew.retire();
  await t.rejects(first.crew.predict(rows(3)), {
    kind: 'stopped',
    message: 'the model takes no further calls',
  });
  t.notOk(first.predictors[0]?.isKilled);
  await until('asked', () => first.predictors[0]?.answer());
  await until('asked', () => first.predictors[0]?.answer());
  t.strictSame(await Promise.all(calls), [1, 2]);
  await until('ended', () => first.predictors[0]?.isKilled);
  t.strictSame(first.replaced, []);

  const second = await start(2);
  const open = [1, 2, 3].map((value) => second.crew.predict(rows(value)));
  second.crew.stop();
  for (const call of open) await t.rejects(call, { kind: 'stopped', message: 'the model is stopped' });
  t.ok(second.predictors.every(({ isKilled }) => isKilled));
  t.equal(second.predictors.length, 2, 'nobody is replaced');
});

void test('when one process does not start, none is left', async (t) => {
  const begun: FakePredictor[] = [];
  await t.rejects(
    start(2, 60_000, () => {
      if (begun.length > 0) throw new ModelError('no memory');
      begun.push(new FakePredictor());
      return begun[0];
    }),
    { message: 'no memory' },
  );
  t.ok(begun[0]?.isKilled);
});
