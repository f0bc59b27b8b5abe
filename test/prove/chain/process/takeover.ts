import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Daemon } from '../../../support/chain/daemon.ts';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import { withIngester, type IngestHarness } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';
import { seconds, type Figures, type ScenarioContext } from '../../harness.ts';

/** What the server of these scenarios needs. */
export const TAKEOVER_SETTINGS = { track_commit_timestamp: 'on' };

/** Spec P6. */
const TAKEOVER_MS = 10_000;

/** Who inserted ranges into the ledger; when that was committed says track_commit_timestamp. Merging does not touch it. */
const AUDIT_SQL = `
CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY, who text NOT NULL, epoch bigint NOT NULL);
CREATE FUNCTION audit_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- rows that a leader merges keep the epoch of their batches: there it counts under which epoch it holds the lease,
  -- and one that does not hold it leaves a null here, which is refused
  INSERT INTO public.audit (who, epoch) VALUES (
    current_setting('application_name'),
    CASE WHEN current_setting('application_name') LIKE '% ledger'
      THEN (SELECT s.epoch FROM public.ingest_state s
             WHERE starts_with(s.holder, split_part(current_setting('application_name'), ' ', 1) || '@'))
      ELSE new.epoch END);
  RETURN new;
END $$;
CREATE TRIGGER audit AFTER INSERT ON ingest_ledger FOR EACH ROW EXECUTE FUNCTION audit_ledger();`;

export interface TakeoverSize {
  /** of a chain that grows */
  spec: ChainSpec;
  /** how long a frozen leader stays frozen, at least until the other one has taken over */
  frozenMs: number;
  /** whether takeovers must be in time: not on a machine that runs other tests */
  isTimed: boolean;
}

/**
 * Two daemons at once. One writes, one waits; the second takes over from a leader that was killed, from one that is
 * frozen in the middle of a COPY, and from one that is frozen at any moment. What was replaced commits nothing when it
 * wakes up.
 */
export async function takesOver(context: ScenarioContext, size: TakeoverSize): Promise<Figures> {
  const { spec, frozenMs } = size;
  const options = { databaseUrl: await context.database(), spec, count: null, proxied: true };
  return withIngester({ ...options, random: context.random }, async (harness) => {
    const proxy = harness.proxy!;
    const client = await harness.client();
    await client.query(AUDIT_SQL);
    const alpha = harness.daemon({ env: { SERVICE_NAME: 'alpha' }, proxy: null });
    await alpha.untilReady('ready');
    const beta = harness.daemon({ env: { SERVICE_NAME: 'beta' } });
    await beta.untilReady('standby');
    await written(alpha);
    assert.equal((await alpha.ready())?.status, 'ready');
    assert.deepEqual(beta.lines('Opening tick stream'), [], 'a standby reads nothing');

    alpha.kill('SIGKILL');
    const afterKill = await takeover(beta, size);
    await assertEpochsInOrder(client);
    context.say(`after SIGKILL: ${afterKill}`);

    const gamma = harness.daemon({ env: { SERVICE_NAME: 'gamma' }, proxy: null });
    await gamma.untilReady('standby');
    await haltInCopy(harness, beta, 'beta', 'process');
    const afterCopy = await takeover(gamma, size);
    context.say(`after SIGSTOP in a COPY: ${afterCopy}`);
    await delay(frozenMs);
    // what it still holds meets the fence, and what was under way a session that was ended
    proxy.heal();
    await wakes(harness, beta, 'beta');

    await delay(context.random.whole(0, 300));
    gamma.kill('SIGSTOP');
    const afterFreeze = await takeover(beta, size);
    context.say(`after SIGSTOP: ${afterFreeze}`);
    await delay(frozenMs);
    await wakes(harness, gamma, 'gamma');

    await beta.stop();
    await gamma.untilReady('ready');
    await written(gamma);
    await harness.settle(gamma);
    await assertEpochsInOrder(client);
    const compared = await harness.verify();
    return {
      ticks: compared.ticks,
      'takeover after SIGKILL': afterKill,
      'after SIGSTOP in a COPY': afterCopy,
      'after SIGSTOP': afterFreeze,
      'frozen for another': seconds(frozenMs),
      epochs: (await client.query<{ n: string }>('SELECT count(DISTINCT epoch) AS n FROM audit')).rows[0].n,
    };
  });
}

/**
 * The leader lives and its way to the database is a black hole: it is replaced, and follows once it finds out.
 */
export async function takesOverFromCutOff(context: ScenarioContext, size: TakeoverSize): Promise<Figures> {
  const { spec } = size;
  const options = { databaseUrl: await context.database(), spec, count: null, proxied: true };
  return withIngester({ ...options, random: context.random }, async (harness) => {
    const client = await harness.client();
    await client.query(AUDIT_SQL);
    const alpha = harness.daemon({ env: { SERVICE_NAME: 'alpha' } });
    await alpha.untilReady('ready');
    const beta = harness.daemon({ env: { SERVICE_NAME: 'beta' }, proxy: null });
    await beta.untilReady('standby');
    await haltInCopy(harness, alpha, 'alpha', 'network');
    const afterCut = await takeover(beta, size);
    await alpha.untilReady('database');
    harness.proxy!.heal();
    await alpha.untilReady('standby', SESSION_GIVEN_UP_MS);
    await assertEpochsInOrder(client);
    await nothingHeldOpen(client, 'alpha');
    await beta.stop();
    await alpha.untilReady('ready');
    await written(alpha);
    await harness.settle(alpha);
    await assertEpochsInOrder(client);
    const compared = await harness.verify();
    return { ticks: compared.ticks, 'takeover after a cut': afterCut };
  });
}

/** How long it is until this one writes. */
async function takeover(next: Daemon, { isTimed }: TakeoverSize): Promise<string> {
  const beganMs = performance.now();
  await written(next);
  const tookMs = performance.now() - beganMs;
  if (isTimed) assert.ok(tookMs < TAKEOVER_MS, `the takeover took ${tookMs} ms`);
  return seconds(tookMs);
}

/** A leader that was replaced while it was frozen goes on, finds out, and commits nothing. */
async function wakes(harness: IngestHarness, daemon: Daemon, service: string): Promise<void> {
  const client = await harness.client();
  await assertEpochsInOrder(client);
  daemon.kill('SIGCONT');
  await daemon.untilReady('standby', SESSION_GIVEN_UP_MS);
  await assertEpochsInOrder(client);
  await nothingHeldOpen(client, service);
  await harness.look();
}

/** A writer waits so long for an answer, and some more, before it gives its session up (BATCH_ANSWER_MS). */
const SESSION_GIVEN_UP_MS = 60_000;

/** A daemon that was replaced leaves no transaction open, not even a failed one. */
async function nothingHeldOpen(client: Client, service: string): Promise<void> {
  let last: unknown;
  await until(
    `no transaction of ${service} is open`,
    async () => {
      const { rows } = await client.query(
        `SELECT application_name, state, left(query, 60) AS query FROM pg_stat_activity
          WHERE datname = current_database() AND starts_with(application_name, $1) AND state LIKE 'idle in transaction%'`,
        [`${service} `],
      );
      last = rows;
      return rows.length === 0;
    },
    { deadlineMs: 5_000, context: () => JSON.stringify(last) },
  );
}

/** Its next batch from now on. */
function written(daemon: Daemon): Promise<unknown> {
  const { ticksWritten } = daemon;
  return until('it writes', () => daemon.ticksWritten > ticksWritten, {
    pollMs: 5,
    context: () => daemon.tail(),
  });
}

/**
 * Halts the process, or its connections alone, while one of its sessions is in the middle of a COPY. In both cases what
 * of the batch is under way to the server stays there, or a small one would be complete in the kernel's buffers.
 */
async function haltInCopy(
  harness: IngestHarness,
  daemon: Daemon,
  service: string,
  what: 'process' | 'network',
): Promise<void> {
  const proxy = harness.proxy!;
  const client = await harness.client();
  const isInCopy = async (): Promise<boolean> => {
    const { rows } = await client.query(
      `SELECT FROM pg_stat_progress_copy c JOIN pg_stat_activity a USING (pid)
        WHERE c.command = 'COPY FROM' AND a.datname = current_database() AND starts_with(a.application_name, $1)`,
      [`${service} writer`],
    );
    return rows.length > 0;
  };
  await until(
    'it is frozen inside a COPY',
    async () => {
      // a batch takes a while now, so that there is a middle
      proxy.toServer.bytesPerSecond = 2_000_000;
      if (!(await isInCopy())) return false;
      proxy.freeze();
      if (what === 'process') daemon.kill('SIGSTOP');
      await client.query('SELECT pg_sleep(0.2)');
      if (await isInCopy()) return true;
      if (what === 'process') daemon.kill('SIGCONT');
      proxy.heal();
      return false;
    },
    { pollMs: 1, context: () => daemon.tail() },
  );
}

/** Nothing of an older epoch follows the first row of a newer one: in the audit, and in what is left of the ledger. */
async function assertEpochsInOrder(client: Client): Promise<void> {
  for (const [table, at] of [
    ['audit', 'pg_xact_commit_timestamp(xmin)'],
    ['ingest_ledger', 'committed_at'],
  ]) {
    const { rows } = await client.query(
      `SELECT * FROM (SELECT *, max(epoch) OVER (ORDER BY ${at} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newer
         FROM ${table}) a WHERE epoch < newer LIMIT 3`,
    );
    assert.deepEqual(rows, [], `${table}: a row of an epoch that was over`);
  }
}
