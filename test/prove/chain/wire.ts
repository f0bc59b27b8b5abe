import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { REWRITE_BACK } from '../../../src/sim/fault.ts';
import type { Daemon } from '../../support/chain/daemon.ts';
import { digest } from '../../support/chain/dead-letters.ts';
import { expectedTicks, type ChainSpec, type ExpectedTick } from '../../support/chain/content/expected.ts';
import { withIngester, type IngestHarness } from '../../support/chain/harness.ts';
import { until } from '../../support/until.ts';
import { malformed, rewritten, wireTick } from '../../support/chain/content/wire.ts';
import { watched } from '../../support/chain/watch.ts';
import {
  fateOf,
  formOf,
  isLeftOut,
  isRewritten,
  isUnnumbered,
  numbersThat,
  REASONS,
  simFaults,
  type WireFaults,
} from '../../support/chain/wire-faults.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

export interface WireSize {
  /** each tick needs a transaction, so that each kind of damage fits each tick */
  spec: ChainSpec;
  count: number;
  faults: WireFaults;
}

const ENV = {
  // more bad ticks than an operator would bear
  DEAD_LETTER_MAX: '1000000000',
  // a gap is what 256 later ticks have passed; no hiccup of a busy machine makes one of a swap
  REORDER_WINDOW: '10s',
};

/**
 * A stream that leaves out, doubles, swaps, rewrites and spoils every n-th tick. Afterwards gaps, dead letters, counts and
 * rows are exactly those that follow from what was injected.
 */
export async function survivesWireFaults(
  context: ScenarioContext,
  { spec, count, faults }: WireSize,
): Promise<Figures> {
  const options = { databaseUrl: await context.database(), spec, count, env: ENV, sim: simFaults(faults) };
  return withIngester(options, async (harness) => {
    const daemon = harness.daemon();
    const expected = expectations(harness, faults);
    const { looks } = await watched(harness, async () => {
      await harness.untilCaughtUp(daemon);
      await untilGapsClosed(harness, daemon);
      return {};
    });
    await assertCounts(harness, daemon, faults, expected);
    await daemon.untilReady('ready');
    await daemon.stop();
    assert.equal(harness.starts().length, 1, 'one stream');

    const client = await harness.client();
    await assertGaps(client, expected);
    await assertLetters(client, harness, faults, expected);
    const compared = await harness.compare({ absent: (number) => fateOf(faults, number) !== 'stored' });
    await harness.check({ hashes: true, atRest: true });
    const { rows } = await client.query('SELECT * FROM chain_alarms LIMIT 3');
    assert.deepEqual(rows, [], 'what is stored is true');
    return {
      ticks: compared.ticks,
      'left out': expected.leftOut.length,
      'of them for ever': expected.unfillable.length,
      'gaps closed': expected.gaps.length,
      doubled: expected.repeated,
      swapped: harness.sim.log().filter(({ kind }) => kind === 'swap').length,
      rewritten: expected.rewritten.length,
      malformed: expected.malformed.length,
      'of them without a number': expected.malformed.filter((number) => isUnnumbered(formOf(faults, number)!))
        .length,
      looks,
    };
  });
}

interface Expectations {
  leftOut: bigint[];
  unfillable: bigint[];
  /** numbers that never came as a frame with their number */
  gaps: bigint[];
  malformed: bigint[];
  rewritten: bigint[];
  /** equal frames of a number that had come */
  repeated: number;
}

function expectations(harness: IngestHarness, faults: WireFaults): Expectations {
  const numbers = (fits: (number: bigint) => boolean): bigint[] =>
    numbersThat(harness.spec.first, harness.last, fits);
  const isWithoutNumber = (number: bigint): boolean => {
    const form = formOf(faults, number);
    return form !== null && isUnnumbered(form);
  };
  return {
    leftOut: numbers((number) => isLeftOut(faults, number)),
    unfillable: numbers((number) => fateOf(faults, number) === 'unfillable'),
    gaps: numbers((number) => isLeftOut(faults, number) || isWithoutNumber(number)),
    malformed: numbers((number) => formOf(faults, number) !== null),
    rewritten: numbers((number) => number + REWRITE_BACK <= harness.last && isRewritten(faults, number)),
    repeated: numbers(
      (number) => number % faults.duplicate === 0n && !isLeftOut(faults, number) && !isWithoutNumber(number),
    ).length,
  };
}

async function untilGapsClosed(harness: IngestHarness, daemon: Daemon): Promise<void> {
  let open = -1;
  await until(
    'every gap is filled or given up',
    async () => (open = (await harness.look()).openGaps.length) === 0,
    { deadlineMs: 120_000, progress: () => open, context: () => `${open} open gaps\n${daemon.tail()}` },
  );
}

/** The daemon's own counts against what was injected. */
async function assertCounts(
  harness: IngestHarness,
  daemon: Daemon,
  faults: WireFaults,
  expected: Expectations,
): Promise<void> {
  const all = numbersThat(harness.spec.first, harness.last, () => true);
  const stored = all.filter((number) => fateOf(faults, number) === 'stored').length;
  // each bad frame once, also those whose tick came by GetTick
  const letters = new Set([
    ...expected.malformed,
    ...all.filter((number) => fateOf(faults, number) === 'bad'),
  ]);
  await daemon.untilMetric('tick_ingester_ticks_total', { status: 'success' }, stored);
  await daemon.untilMetric('tick_ingester_ticks_total', { status: 'error' }, letters.size);
  await daemon.untilMetric('tick_ingester_duplicates_total', { cause: 'stream' }, expected.repeated);
  await daemon.untilMetric('tick_ingester_duplicates_total', { cause: 'resume' }, 0);
  await daemon.untilMetric('tick_ingester_conflicts_total', {}, expected.rewritten.length);
  await daemon.untilMetric(
    'tick_ingester_gap_ticks_filled_total',
    {},
    expected.gaps.length - expected.unfillable.length,
  );
  const logged = harness.sim.log().filter(({ event }) => event === 'fault');
  const injected = (kind: string): number => logged.filter((fault) => fault.kind === kind).length;
  assert.equal(injected('gap') + injected('gap-forever'), expected.leftOut.length);
  assert.equal(injected('rewrite'), expected.rewritten.length);
  assert.equal(injected('malformed'), expected.malformed.length);
}

async function assertGaps(client: Client, expected: Expectations): Promise<void> {
  const { rows } = await client.query<{ number: string; state: string }>(
    'SELECT generate_series(first_tick, last_tick) AS number, state FROM ingest_gaps ORDER BY 1',
  );
  const unfillable = new Set(expected.unfillable);
  assert.deepEqual(
    rows.map(({ number, state }) => `${number} ${state}`),
    expected.gaps.map((number) => `${number} ${unfillable.has(number) ? 'unfillable' : 'filled'}`),
    'the gaps table is what was injected',
  );
}

interface Letter {
  tick_number: string | null;
  after_tick: string | null;
  reason: string;
  detail: string;
  status: string;
  raw: Buffer;
  raw_sha256: Buffer;
  stored_sha256: Buffer | null;
}

/** Each bad tick and each rewritten one exactly once, with its bytes. */
async function assertLetters(
  client: Client,
  harness: IngestHarness,
  faults: WireFaults,
  expected: Expectations,
): Promise<void> {
  const { rows } = await client.query<Letter>(
    `SELECT tick_number, after_tick, reason, detail, status, raw, raw_sha256, stored_sha256 FROM dead_letters
      ORDER BY coalesce(after_tick + 1, tick_number), dead_letter_id`,
  );
  const byNumber = Map.groupBy(rows, ({ tick_number, after_tick }) =>
    after_tick !== null ? BigInt(after_tick) + 1n : BigInt(tick_number ?? -1),
  );
  let seen = 0;
  const rewrites = new Set(expected.rewritten);
  for (const tick of expectedTicks(harness.spec, harness.count)) {
    const letters = byNumber.get(tick.tickNumber) ?? [];
    seen += letters.length;
    const isBad = fateOf(faults, tick.tickNumber) === 'bad';
    const form = formOf(faults, tick.tickNumber) ?? (isBad ? 'tx-hash' : null);
    if (form !== null) assertBad(letters, tick, form, isBad ? 'open' : 'resolved');
    else if (rewrites.has(tick.tickNumber)) assertConflict(letters, tick);
    else assert.deepEqual(letters, [], `tick ${tick.tickNumber} was good`);
  }
  assert.equal(seen, rows.length, 'no dead letter of anything else');
}

function assertBad(letters: readonly Letter[], tick: ExpectedTick, form: string, status: string): void {
  const what = `${form} of tick ${tick.tickNumber}`;
  assert.equal(letters.length, 1, `${what}: exactly one dead letter`);
  const [letter] = letters;
  assert.equal(letter.reason, REASONS[form], what);
  assert.ok(letter.raw.equals(malformed(tick, form)), `${what}: its bytes`);
  assert.equal(letter.raw_sha256.toString('hex'), digest(letter.raw), what);
  assert.equal(letter.after_tick !== null, isUnnumbered(form), what);
  assert.equal(letter.status, status, what);
}

function assertConflict(letters: readonly Letter[], tick: ExpectedTick): void {
  const what = `conflict of tick ${tick.tickNumber}`;
  assert.equal(letters.length, 1, `${what}: exactly one dead letter`);
  const [letter] = letters;
  const bytes = wireTick(rewritten(tick));
  assert.equal(letter.reason, 'conflict', what);
  assert.equal(letter.status, 'open', what);
  assert.ok(letter.raw.equals(bytes), `${what}: its bytes`);
  assert.equal(letter.raw_sha256.toString('hex'), digest(bytes), what);
  assert.equal(
    letter.stored_sha256?.toString('hex'),
    digest(wireTick(tick)),
    `${what}: digest of the stored tick`,
  );
  assert.ok(
    letter.detail.includes(digest(bytes)) && letter.detail.includes(digest(wireTick(tick))),
    `${what}: both digests, not ${letter.detail}`,
  );
}
