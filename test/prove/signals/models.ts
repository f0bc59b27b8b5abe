import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { eventIdOf } from '../../../src/core/market/event-id.ts';
import { formatMicros } from '../../../src/core/time.ts';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { noScikitLearn, PYTHON } from '../../support/models/python.ts';
import { troubledModel, TROUBLES } from '../../support/models/onnx.ts';
import { TROUBLED, writeModel } from '../../support/models/folder.ts';
import { runCommand } from '../../support/run/command.ts';
import { until } from '../../support/until.ts';
import { Skipped, type Figures, type ScenarioContext } from '../harness.ts';
import type { BusName } from '../bus/harness.ts';
import { SignalsHarness } from './harness/harness.ts';
import { publishAll } from './harness/publish.ts';

const TRAIN = fileURLToPath(new URL('../../support/models/train_on_export.py', import.meta.url));
const LABEL = 'ret_30s@+60s';
const PROVIDER = 'models';
const SYMBOLS = ['A', 'B', 'C'];
const START_US = 1_760_000_000_000_000;
/** each symbol has a tick so often, µs */
const APART_US = 500_000;
const TOLERANCE = 1e-6;
/** prices so high make the model loop so often: it hangs */
const HANG_SCALE = 1e13;

/** Prices that swing, so that there is something to learn. */
function ticksOf(context: ScenarioContext, count: number, scale = 1): TickEvent[] {
  return Array.from({ length: count }, (_, at) => {
    const place = at % SYMBOLS.length;
    const second = (Math.floor(at / SYMBOLS.length) * APART_US) / 1e6;
    const noise = context.random.whole(-1_000, 1_000) * 1e-5;
    const price = Math.round((100 + 3 * Math.sin(second / (20 + 5 * place)) + noise) * scale * 1e4) / 1e4;
    const event: Omit<TickEvent, 'eventId'> = {
      kind: 'tick',
      provider: PROVIDER,
      symbol: SYMBOLS[place],
      srcTs: BigInt(START_US + Math.floor(at / SYMBOLS.length) * APART_US + place),
      ingestTs: null,
      seq: BigInt(at),
      origin: 'live',
      replayRunId: null,
      price,
      size: context.random.whole(1, 100),
      bid: price - 0.01,
      ask: price + 0.01,
      side: context.random.whole(0, 1) === 0 ? 1 : -1,
    };

    return {
      ...event,
      eventId: eventIdOf(event.provider, event.symbol, formatMicros(event.srcTs), event.seq, null),
    };
  });
}

export interface ModelsSize {
  ticks: number;
}

/**
 * Must show 3: two models of scikit-learn are trained on what `mdp export features` wrote, converted, and say the same; then the
 * inference runs with one of them, and its predictions are signals.
 */
export function trainsWhatItServes(
  context: ScenarioContext,
  bus: BusName,
  { ticks }: ModelsSize,
): Promise<Figures> {
  const missing = noScikitLearn();
  if (missing !== false) throw new Skipped(missing);
  return SignalsHarness.with(bus, context, {}, async (harness) => {
    const folder = await mkdtemp(join(tmpdir(), 'tick-models-'));
    try {
      await publishAll(harness.bus.bus, ticksOf(context, ticks));
      const consumer = harness.ticks();
      const { program } = harness.member('infer', 'infer-1');
      await harness.untilSignals(1, 'true', [program, consumer]);
      await harness.stop(program, consumer);
      const environment = { DATABASE_URL: harness.bus.databaseUrl };
      const mdp = async (...args: string[]): Promise<string> => {
        const { code, stdout, stderr } = await runCommand('mdp', args, environment);
        assert.equal(code, 0, `mdp ${args.join(' ')}\n${stdout}${stderr}`);
        return stdout;
      };
      const data = join(folder, 'rows.csv');
      const range = ['--start', '2000-01-01', '--end', '2100-01-01', '--config', harness.bus.configFile];
      const said = JSON.parse(
        await mdp(
          'export',
          'features',
          '--provider',
          PROVIDER,
          '--symbols',
          SYMBOLS.join(','),
          ...range,
          '--label',
          LABEL,
          '--output',
          data,
          '--json',
        ),
      ) as { rows: number };
      const trained = await promisify(execFile)(PYTHON, ['-W', 'ignore', TRAIN, data, LABEL, folder]);
      const figures: Figures = { 'rows exported': said.rows, 'rows trained on': Number(trained.stdout) };
      for (const name of ['logistic', 'boosted']) {
        const pickle = join(folder, `${name}.pkl`);
        await mdp('models', 'convert', pickle, '--python', PYTHON, '--data', data, '--json');
        const side = JSON.parse(await readFile(join(folder, `${name}.json`), 'utf8')) as {
          about: { greatest_difference: number };
        };
        const { greatest_difference: difference } = side.about;
        assert.ok(difference <= TOLERANCE, `${name} differs by ${difference}`);
        const score = JSON.parse(
          await mdp(
            'models',
            'score',
            '--data',
            data,
            '--label',
            LABEL,
            '--threshold',
            '0',
            '--model',
            join(folder, `${name}.onnx`),
            '--json',
          ),
        ) as { accuracy: number };
        assert.ok(score.accuracy > 0.5, `${name}: accuracy ${score.accuracy} of what swings`);
        figures[`${name}: difference`] = difference.toExponential(1);
        figures[`${name}: accuracy`] = score.accuracy.toFixed(3);
      }
      return figures;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

export interface HangSize {
  ticks: number;
  /** the rate while a model hangs, as a part of that without one; null where other tests share the machine */
  rateMin: number | null;
}

/** Must show 3: while every call to a model hangs, the tick consumer goes on at its rate, the breaker opens, and rules make the signals. */
export async function holdsUpNothing(
  context: ScenarioContext,
  bus: BusName,
  { ticks, rateMin }: HangSize,
): Promise<Figures> {
  const rates: number[] = [];
  let ofRules = 0;
  for (const isHanging of [false, true]) {
    await SignalsHarness.with(bus, context, {}, async (harness) => {
      const folder = await mkdtemp(join(tmpdir(), 'tick-models-'));
      try {
        if (isHanging) await configureHangingModel(harness, folder);
        const infer = harness.bus.program(
          [
            'infer',
            '--consumer',
            'infer-1',
            '--metrics-port',
            '0',
            ...(isHanging ? ['--adapter', 'onnx'] : []),
          ],
          () => {},
        );
        await publishAll(harness.bus.bus, ticksOf(context, ticks, HANG_SCALE));
        const consumer = harness.ticks();
        const beganMs = performance.now();
        const endMs = await until(
          'every tick is stored',
          async () => {
            assert.equal(infer.end, null, infer.tail);
            const { rows } = await harness.client.query<{ n: number }>(
              'SELECT count(*)::int AS n FROM tick_data',
            );
            return rows[0].n === ticks ? performance.now() : null;
          },
          { pollMs: 20, deadlineMs: 120_000, context: () => consumer.tail },
        );
        rates.push(ticks / ((endMs - beganMs) / 1000));
        if (isHanging) {
          await harness.untilSignals(1, "name = 'every_window'", [infer, consumer]);
          ofRules = await harness.countOf("name = 'every_window'");
        }
        await harness.stop(infer, consumer);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  }
  const part = rates[1] / rates[0];
  if (rateMin !== null)
    assert.ok(part >= rateMin, `${part.toFixed(2)} of the rate without a model that hangs`);
  return {
    'ticks a second beside rules': Math.round(rates[0]),
    'beside a model that hangs': Math.round(rates[1]),
    part: part.toFixed(2),
    'signals of rules meanwhile': ofRules,
  };
}

/** Each call loops as often as the price is high. */
async function configureHangingModel(harness: SignalsHarness, folder: string): Promise<void> {
  const standIns = {
    v: 'spread_bps',
    loops: 'price',
    throws: 'ret',
    nan: 'vwap_deviation_bps',
    more: 'order_imbalance',
  };
  const features = TROUBLES.map((name) => standIns[name]);
  const model = await writeModel(folder, 'm', troubledModel(), { ...TROUBLED, features });
  const { configFile } = harness.bus;
  const text = await readFile(configFile, 'utf8');
  const adapter = `    onnx: { enabled: false, model_path: ${model}, timeout: 200ms }\n`;
  await writeFile(configFile, text.replace('adapters:\n', `adapters:\n${adapter}`));
}
