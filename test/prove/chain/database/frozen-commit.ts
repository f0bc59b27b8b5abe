import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Daemon } from '../../../support/chain/daemon.ts';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import { withIngester, type IngestHarness } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';
import { watched } from '../../../support/chain/watch.ts';
import { seconds, type Figures, type ScenarioContext } from '../../harness.ts';

export interface FrozenCommitSize {
  /** it grows all the while */
  spec: ChainSpec;
  /** each moment is tried once in each of these ways */
  ways: readonly Way[];
}

/** How the daemon comes to give the session up: by its own patience, or because the connection breaks. */
export type Way = 'silence' | 'cut';

/** What the server of this scenario needs: commits that wait for a standby which is not there. */
export const FROZEN_COMMIT_SETTINGS = { synchronous_commit: 'on' };

/** The daemon waits 30 s for the answer of a batch (BATCH_ANSWER_MS), and some more to find the backend still there. */
const SILENCE_MS = 36_000;
const CUT_MS = 3_000;
const GATE = 424_242;

/** Holds every COMMIT up at one moment; some of them are in it now. */
interface Moment {
  name: string;
  /** where pg_stat_activity shows a backend that is held up */
  waitEvent: string;
  outcome: 'committed' | 'absent';
  close(client: Client): Promise<unknown>;
  open(client: Client): Promise<unknown>;
}

const MOMENTS: readonly Moment[] = [
  {
    name: 'after its record was written',
    waitEvent: 'SyncRep',
    outcome: 'committed',
    close: (client) => standby(client, 'nobody'),
    open: (client) => standby(client, ''),
  },
  {
    name: 'before its record was written',
    waitEvent: 'advisory',
    outcome: 'absent',
    close: (client) => client.query('SELECT pg_advisory_lock($1)', [GATE]),
    open: (client) => client.query('SELECT pg_advisory_unlock($1)', [GATE]),
  },
];

async function standby(client: Client, name: string): Promise<void> {
  await client.query(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`);
  await client.query('SELECT pg_reload_conf()');
}

/** A deferred constraint trigger is run by COMMIT. */
const GATE_SQL = `
CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(${GATE});
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON ingest_ledger DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION wait_at_gate();`;

/**
 * One backend is stopped (SIGSTOP) inside its COMMIT, just before and just after its record is in the log. The daemon
 * gives it up, cannot end it, and must neither write its batch again nor leave it out, whatever the backend does once it
 * goes on.
 */
export async function survivesFrozenCommits(
  context: ScenarioContext,
  { spec, ways }: FrozenCommitSize,
): Promise<Figures> {
  const options = { databaseUrl: await context.database(), spec, count: null, proxied: true };
  return withIngester({ ...options, random: context.random }, async (harness) => {
    await (await harness.client()).query(GATE_SQL);
    const daemon = harness.daemon();
    await harness.untilItGoesOn(daemon);
    const figures: Figures = {};
    const { looks } = await watched(harness, async () => {
      for (const moment of MOMENTS) {
        for (const way of ways) {
          await delay(context.random.whole(0, 300));
          const before = await outcomes(daemon, moment);
          await freezeInCommit(harness, daemon, moment, way);
          await until('the outcome is told', async () => (await outcomes(daemon, moment)) > before, {
            context: () => daemon.tail(),
          });
          await harness.untilItGoesOn(daemon);
          await harness.compareNext();
          figures[`${moment.name}, ${way}`] = `found ${moment.outcome}`;
          context.say(`${moment.name}, ${way}: position ${await harness.position()}`);
        }
      }
      return {};
    });
    assert.equal(daemon.exit, null, daemon.tail());
    await daemon.untilReady('ready');
    await harness.settle(daemon);
    const compared = await harness.verify();
    return { ticks: compared.ticks, ...figures, looks };
  });
}

function outcomes(daemon: Daemon, { outcome }: Moment): Promise<number> {
  return daemon.metric('tick_ingester_ambiguous_commits_total', { outcome });
}

async function freezeInCommit(
  harness: IngestHarness,
  daemon: Daemon,
  moment: Moment,
  way: Way,
): Promise<void> {
  const client = await harness.client();
  await moment.close(client);
  const backend = await until(
    `a writer is in its COMMIT, ${moment.name}`,
    async () => {
      const { rows } = await client.query<{ pid: number; port: number }>(
        `SELECT pid, client_port AS port FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE '% writer%' AND wait_event = $1 LIMIT 1`,
        [moment.waitEvent],
      );
      return rows[0];
    },
    { context: () => daemon.tail() },
  );
  process.kill(backend.pid, 'SIGSTOP');
  try {
    await moment.open(client);
    if (way === 'cut') harness.proxy!.cutFrom(backend.port);
    const heldMs = way === 'cut' ? CUT_MS : SILENCE_MS;
    await daemon.logged((line) => line.level === 'warn' && NOTICED.test(line.msg), {
      from: daemon.log.length,
      deadlineMs: heldMs + 30_000,
    });
    await delay(way === 'cut' ? heldMs : heldMs - BATCH_ANSWER_MS);
    assert.equal(daemon.exit, null, daemon.tail());
    assert.equal((await daemon.get('/health'))?.code, 200, `${seconds(heldMs)} without a COMMIT`);
    await harness.look();
  } finally {
    process.kill(backend.pid, 'SIGCONT');
  }
}

const BATCH_ANSWER_MS = 30_000;
/** a connection that is cut; one that is silent */
const NOTICED = /^(Failed to connect to database|The database is slow)/;
