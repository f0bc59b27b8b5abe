import assert from 'node:assert/strict';
import { test } from 'tap';
import type { Client } from 'pg';
import { INDEX_WORDS } from '../../../../src/core/copy/transcode.ts';
import { systemClock } from '../../../../src/core/time.ts';
import { BatchParser } from '../../../../src/ingest/parser/parse.ts';
import type { CommittedBatch } from '../../../../src/ingest/pipeline/commit.ts';
import { Pipeline } from '../../../../src/ingest/pipeline/pipeline.ts';
import { planRing, Ring } from '../../../../src/ingest/ring.ts';
import { BatchWriter } from '../../../../src/ingest/writer/batch-writer.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { chainSpec, expectedTicks } from '../../../support/chain/content/expected.ts';
import { beginChain, TEST_EPOCH } from '../../../support/chain/content/stored-chain.ts';
import { wireTick } from '../../../support/chain/content/wire.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';

const FIRST = 1000n;
const COUNT = 200;
/** ticks that the database takes at once */
const TAKEN = 30;
const ANSWER_MS = 300;

/** More rows than that in one statement meet with this. */
const tooMuch = (what: string): string =>
  `CREATE FUNCTION too_much() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN IF (SELECT count(*) FROM added) > ${TAKEN} THEN ${what}; END IF; RETURN NULL; END $$;
   CREATE TRIGGER too_much AFTER INSERT ON ticks REFERENCING NEW TABLE AS added
     FOR EACH STATEMENT EXECUTE FUNCTION too_much()`;

interface Told {
  message: string;
  fields: Readonly<Record<string, unknown>>;
}

/** Two batches through a pipeline with real writers, until nothing is in flight. */
async function write(url: string): Promise<{ committed: CommittedBatch[]; told: Told[] }> {
  const told: Told[] = [];
  const committed: CommittedBatch[] = [];
  const env = {
    log: (_level: string, message: string, fields: Told['fields']) => void told.push({ message, fields }),
    clock: systemClock,
    random: Math.random,
  };
  const limits = {
    backoff: { firstMs: 1, maxMs: 20 },
    answerMs: ANSWER_MS,
    lifetimeMs: Infinity,
    idleMs: null,
    asynchronousCommit: false,
  };
  const writers = [0, 1].map(
    () =>
      new BatchWriter(limits, env, {
        connect: (onLost) => connect(parseDatabaseUrl(url), { applicationName: 'test', onLost }),
        database: () => {},
        retried: () => {},
        lost: () => {},
        backend: () => {},
      }),
  );
  const ring = new Ring(
    planRing({ bufferBytes: 1 << 22, bufferTicks: 1000, tickBytesMax: 1 << 16, batchTicksMax: 100 }),
  );
  const parser = new BatchParser(ring);
  const pipeline = new Pipeline(
    ring,
    {
      writers: writers.length,
      parse: async (task) => parser.parse(task),
      connect: (writer) => writers[writer].connect(),
      disconnect: (writer) => void writers[writer].disconnect(),
      write: (writer, batch, attempt) => writers[writer].write(batch, attempt),
      credit: () => {},
    },
    {
      tickBytesMax: 1 << 16,
      chainCheck: 'link',
      nowMicros: () => systemClock.nowMicros(),
      answerMs: ANSWER_MS,
    },
    env,
    { committed: (batch) => void committed.push(batch) },
    { recordOrigin: async (first) => first, admit: () => true, committed: () => {}, fenced: () => {} },
  );
  const empty = { storedAhead: [], openGaps: [], unfillable: [] };
  pipeline.start(TEST_EPOCH, { ...empty, origin: FIRST, position: FIRST - 1n });
  const frames = [...expectedTicks(chainSpec({ seed: 7, txs: 1, first: FIRST }), COUNT)].map(wireTick);
  for (let from = 0; from < COUNT; from += 100) seal(ring, pipeline, from, frames.slice(from, from + 100));
  await pipeline.settled();
  await Promise.all(writers.map((writer) => writer.stop()));
  return { committed, told };
}

function seal(ring: Ring, pipeline: Pipeline, from: number, frames: Uint8Array[]): void {
  const slab = ring.take();
  assert.ok(slab !== undefined);
  let bytes = 0;
  frames.forEach((frame, at) => {
    slab.bytes.set(frame, bytes);
    slab.index.set([bytes, frame.length, 0], at * INDEX_WORDS);
    bytes += frame.length;
  });
  ring.addBufferedTicks(frames.length);
  ring.addInFlight(1);
  const [ticks, first] = [frames.length, FIRST + BigInt(from)];
  const more = { side: null, gaps: [], fills: false, previous: null, openedMs: 0 };
  pipeline.sealed({ slab: slab.id, frames: ticks, ticks, first, bytes, ...more });
}

async function storedIn(client: Client): Promise<unknown> {
  const { rows } = await client.query(
    `SELECT (SELECT count(*)::int FROM ticks) AS ticks, (SELECT count(*)::int FROM tick_transactions) AS transactions,
       (SELECT "position" FROM ingest_position()), (SELECT count(*)::int FROM dead_letters) AS dead`,
  );
  return rows[0];
}

void test('a batch that is too much for the database at once gets through in parts', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  for (const [name, what, said] of [
    [
      'it is not answered in time',
      'PERFORM pg_sleep(600)',
      'The database is slow: no answer to a batch in time',
    ],
    [
      'the table of locks is full',
      "RAISE EXCEPTION 'out of shared memory' USING ERRCODE = '53200'",
      'The database refuses a batch; it is kept and tried again',
    ],
  ]) {
    await t.test(name, async (s) => {
      const url = await server.createDatabase();
      const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
      s.teardown(() => client.end());
      await beginChain(client, FIRST);
      await client.query(tooMuch(what));
      const { committed, told } = await write(url);
      s.strictSame(await storedIn(client), {
        ticks: COUNT,
        transactions: COUNT,
        position: `${FIRST + BigInt(COUNT) - 1n}`,
        dead: 0,
      });
      s.ok(committed.every(({ ticks }) => ticks <= TAKEN));
      const messages = new Set(told.map(({ message }) => message));
      s.ok(messages.has(said));
      s.ok(messages.has('A batch is too much for the database at once: cutting it'));
      s.notOk(messages.has('Failed to connect to database'), 'it is there');
    });
  }
});
