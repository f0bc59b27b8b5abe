import assert from 'node:assert/strict';
import type { Client } from 'pg';
import type { Daemon } from '../support/daemon.ts';
import type { ChainSpec } from '../support/expected.ts';
import { withRig, type Rig } from '../support/rig.ts';
import { until } from '../support/until.ts';
import { seconds, type Figures, type Scene } from './scene.ts';

/** Spec P6. */
const TAKEOVER_MS = 10_000;

/** Who inserted which range into the ledger and when, by the database's clock: merging does not touch it. */
const AUDIT_SQL = `
CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, who text NOT NULL, epoch bigint NOT NULL);
CREATE FUNCTION audit_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.audit (at, who, epoch) VALUES (clock_timestamp(), current_setting('application_name'), new.epoch);
  RETURN new;
END $$;
CREATE TRIGGER audit AFTER INSERT ON ingest_ledger FOR EACH ROW EXECUTE FUNCTION audit_ledger();`;

/**
 * Must show 5: two daemons at once. One writes, one waits; the second takes over from a leader that was killed and from
 * one that is frozen in the middle of a batch, which commits nothing when it wakes up.
 */
export async function takesOver(scene: Scene, spec: ChainSpec): Promise<Figures> {
  return withRig({ databaseUrl: await scene.database(), spec, count: null, proxied: true }, async (rig) => {
    const proxy = rig.proxy!;
    const direct = { DATABASE_URL: rig.databaseUrl };
    const client = await rig.client();
    await client.query(AUDIT_SQL);
    const alpha = rig.daemon({ env: { SERVICE_NAME: 'alpha', ...direct } });
    await alpha.untilReady('ready');
    const beta = rig.daemon({ env: { SERVICE_NAME: 'beta' } });
    await beta.untilReady('standby');
    await written(alpha);
    assert.equal((await alpha.ready())?.status, 'ready');
    assert.deepEqual(beta.lines('Opening tick stream'), [], 'a standby reads nothing');

    const killedMs = performance.now();
    alpha.kill('SIGKILL');
    await written(beta);
    const afterKillMs = performance.now() - killedMs;
    assert.ok(afterKillMs < TAKEOVER_MS, `${afterKillMs} ms`);
    await assertNothingAfter(client, 'alpha', 'beta');

    const gamma = rig.daemon({ env: { SERVICE_NAME: 'gamma', ...direct } });
    await gamma.untilReady('standby');
    await haltInBatch(rig, beta, 'beta', 'process');
    const frozenMs = performance.now();
    await written(gamma);
    const afterFreezeMs = performance.now() - frozenMs;
    assert.ok(afterFreezeMs < TAKEOVER_MS, `${afterFreezeMs} ms`);
    // what it still holds meets the fence, and what was under way a session that was ended
    proxy.faults.frozen = false;
    beta.kill('SIGCONT');
    await beta.untilReady('standby');
    await assertNothingAfter(client, 'beta', 'gamma');
    await nothingHeldOpen(client, 'beta');

    await gamma.stop();
    await beta.untilReady('ready');
    await written(beta);
    await rig.settle(beta);
    await assertNothingAfter(client, 'alpha', 'beta');
    const compared = await rig.verify();
    return {
      ticks: compared.ticks,
      'takeover after SIGKILL': seconds(afterKillMs),
      'takeover after SIGSTOP': seconds(afterFreezeMs),
      epochs: (await client.query<{ epoch: string }>('SELECT epoch FROM ingest_state')).rows[0].epoch,
    };
  });
}

/**
 * The leader lives and its way to the database is a black hole: it is replaced, and follows once it finds out.
 */
export async function takesOverFromCutOff(scene: Scene, spec: ChainSpec): Promise<Figures> {
  return withRig({ databaseUrl: await scene.database(), spec, count: null, proxied: true }, async (rig) => {
    const client = await rig.client();
    await client.query(AUDIT_SQL);
    const alpha = rig.daemon({ env: { SERVICE_NAME: 'alpha' } });
    await alpha.untilReady('ready');
    const beta = rig.daemon({ env: { SERVICE_NAME: 'beta', DATABASE_URL: rig.databaseUrl } });
    await beta.untilReady('standby');
    await haltInBatch(rig, alpha, 'alpha', 'network');
    const cutMs = performance.now();
    await written(beta);
    const afterCutMs = performance.now() - cutMs;
    assert.ok(afterCutMs < TAKEOVER_MS, `${afterCutMs} ms`);
    await alpha.untilReady('database');
    rig.proxy!.faults.frozen = false;
    await alpha.untilReady('standby', SESSION_GIVEN_UP_MS);
    await assertNothingAfter(client, 'alpha', 'beta');
    await nothingHeldOpen(client, 'alpha');
    await beta.stop();
    await alpha.untilReady('ready');
    await written(alpha);
    await rig.settle(alpha);
    const compared = await rig.verify();
    return { ticks: compared.ticks, 'takeover after a cut': seconds(afterCutMs) };
  });
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
 * Halts the process, or its connections alone, while one of its sessions holds the fence inside a batch. In both cases
 * what of the batch is under way to the server stays there, or a small one would be complete in the kernel's buffers.
 */
async function haltInBatch(
  rig: Rig,
  daemon: Daemon,
  service: string,
  what: 'process' | 'network',
): Promise<void> {
  const proxy = rig.proxy!;
  const client = await rig.client();
  const holdsFence = async (): Promise<boolean> => {
    const { rows } = await client.query(
      `SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database() AND starts_with(a.application_name, $1)`,
      [`${service} writer`],
    );
    return rows.length > 0;
  };
  // a batch takes a while now, so that there is a middle
  proxy.faults.clientBytesPerSecond = 4_000_000;
  await until(
    'it is frozen inside a batch',
    async () => {
      if (!(await holdsFence())) return false;
      proxy.faults.frozen = true;
      if (what === 'process') daemon.kill('SIGSTOP');
      await client.query('SELECT pg_sleep(0.2)');
      if (await holdsFence()) return true;
      if (what === 'process') daemon.kill('SIGCONT');
      proxy.faults.frozen = false;
      return false;
    },
    { pollMs: 1, context: () => daemon.tail() },
  );
  proxy.faults.clientBytesPerSecond = 0;
}

/** No row of `old` follows the first one of `next`. */
async function assertNothingAfter(client: Client, old: string, next: string): Promise<void> {
  const { rows } = await client.query(
    `SELECT * FROM audit WHERE starts_with(who, $1) AND at > (SELECT min(at) FROM audit WHERE starts_with(who, $2)) LIMIT 3`,
    [`${old} `, `${next} `],
  );
  assert.deepEqual(rows, [], `${old} committed after ${next} had taken over`);
}
