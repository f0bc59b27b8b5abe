import { test } from 'tap';
import { setImmediate as turn } from 'node:timers/promises';
import { RangeSet } from '../../../../src/core/ingest/ranges.ts';
import { Batch } from '../../../../src/core/table/batch.ts';
import { ChainSource, type ChainSourceTools } from '../../../../src/serve/live/chain/source.ts';
import { EVERYTHING } from '../../../../src/serve/live/filter.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { TestClient } from '../../../support/live/client.ts';
import { seededRandom, type Random } from '../../../support/random.ts';
import { until } from '../../../support/until.ts';

/** as many as an id remembers */
const HOLES_MAX = 60;

/** Ticks 0 … position, of which some are not stored yet. */
class ModelChain {
  readonly stored = new RangeSet();
  readonly holes = new RangeSet();
  position = -1n;

  grow(random: Random): void {
    for (let count = random.whole(1, 30); count > 0; count--) {
      this.position += 1n;
      const one = { first: this.position, last: this.position };
      if (random.percent(4) && this.holes.size < HOLES_MAX) this.holes.add(one);
      else this.stored.add(one);
    }
  }

  fill(random: Random): void {
    const ranges = this.holes.list();
    if (ranges.length === 0) return;
    const { first } = random.pick(ranges);
    this.holes.remove({ first, last: first });
    this.stored.add({ first, last: first });
  }

  get tools(): ChainSourceTools['chain'] {
    return {
      extent: () => Promise.resolve({ origin: 0n, position: this.position < 0n ? null : this.position }),
      missing: () => Promise.resolve([...this.holes.list()]),
      firstAt: () => Promise.resolve(this.stored.list()[0]?.first ?? null),
      page: (range, rowsMax) => {
        const numbers = this.#numbers([range]);
        const page = numbers.slice(0, rowsMax);
        return Promise.resolve({ batch: batchOf(page), hasMore: numbers.length > page.length });
      },
      stored: (ranges, limit) => Promise.resolve(this.#numbers(ranges).slice(0, limit)),
    };
  }

  #numbers(ranges: readonly { first: bigint; last: bigint }[]): bigint[] {
    const found: bigint[] = [];
    for (const range of ranges)
      for (const { first, last } of this.stored.within(range))
        for (let number = first; number <= last; number++) found.push(number);
    return found;
  }
}

function batchOf(numbers: readonly bigint[]): Batch {
  const data = { kind: 'int64' as const, values: BigInt64Array.from(numbers) };
  return new Batch([{ name: 'tick_number', type: 'int64' }], numbers.length, [
    { data, validity: null, nulls: 0 },
  ]);
}

/** STORIES=200 tells more of them */
const STORIES = Number(process.env['STORIES'] ?? 5);

void test('each committed tick of the chain comes once: holes are passed, and come when they are filled', async (t) => {
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  for (let story = 0; story < STORIES; story++) {
    const chain = new ModelChain();
    for (let count = 0; count < 40; count++) chain.grow(random);
    const make = (): ChainSource =>
      new ChainSource({ chain: chain.tools, env: testEnv(), pollMs: 1, lookBackMs: 3 });
    let source = make();
    const client = new TestClient({ kind: 'time', us: 0n }, EVERYTHING);
    // what is a hole before the stream begins is not of the history: it comes when it is filled
    await client.connect(source);
    for (let step = 0; step < 80; step++) {
      if (random.percent(60)) chain.grow(random);
      if (random.percent(60)) chain.fill(random);
      if (random.percent(20)) await new Promise((resolve) => setTimeout(resolve, random.whole(0, 6)));
      else await turn();
      if (!random.percent(12)) continue;
      await client.cut();
      if (random.percent(40)) {
        await source.stop();
        source = make();
      }
      await client.connect(source);
    }
    while (chain.holes.size > 0) chain.fill(random);
    const numbers = (): string[] =>
      client.events.map(({ data }) => (JSON.parse(data) as { tick_number: string }).tick_number);
    const wanted = Number(chain.stored.count());
    await until('all came', () => client.events.length >= wanted, {
      deadlineMs: 4_000,
      progress: () => client.events.length,
    }).catch(() => {});
    const got = numbers();
    t.equal(new Set(got).size, got.length, 'none twice');
    t.equal(got.length, wanted, 'none is missing');
    await client.cut();
    await source.stop();
    if (!t.passing()) return;
  }
});
