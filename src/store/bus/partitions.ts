import type { Client } from 'pg';
import { NEXT_EPOCH, takeExclusiveFence } from '../postgres/fence.ts';
import { prepared } from '../postgres/pooler.ts';
import { microsOf } from '../postgres/time-sql.ts';

/** How long a lease and a member last without renewal. */
const LEASE = "interval '5 seconds'";

export interface GroupName {
  topic: string;
  group: string;
}

/** A lease that a member holds; the epoch refuses earlier holders. */
export interface HeldPartition {
  partition: number;
  epoch: bigint;
}

/** A group belongs to one role: another role uses this one. */
export class GroupInUseError extends Error {
  override name = 'GroupInUseError';
}

/** Every process of a bus spreads the keys of a topic over the same number of partitions: this one does not. */
export class PartitionsDifferError extends Error {
  override name = 'PartitionsDifferError';
}

/**
 * Records how many partitions a topic is spread over, and enforces it while the topic has groups: another number would
 * put the records of one symbol in two partitions. Call it before claimGroup(). Rejects with PartitionsDifferError.
 */
export async function agreePartitions(client: Client, topic: string, partitions: number): Promise<void> {
  await client.query(
    `INSERT INTO bus_topics AS t (topic, partitions) VALUES ($1, $2)
     ON CONFLICT (topic) DO UPDATE SET partitions = excluded.partitions
       WHERE t.partitions <> excluded.partitions AND NOT EXISTS (SELECT FROM bus_groups g WHERE g.topic = t.topic)`,
    [topic, partitions],
  );
  const { rows } = await client.query<{ partitions: number }>(
    'SELECT partitions FROM bus_topics WHERE topic = $1',
    [topic],
  );
  const found = rows[0]?.partitions;
  if (found === partitions) return;
  throw new PartitionsDifferError(
    `${topic} has ${found} partition(s), and ${partitions} here: set bus.partitions to ${found} in every process, or end all ` +
      `programs on the bus, drop each group of ${topic} (mdp stream groups --drop) and start them with the new number`,
  );
}

/**
 * Assigns the group to the role. Rejects with GroupInUseError when another role has it: two programs under one group
 * would take each other's records.
 */
export async function claimGroup(client: Client, { topic, group }: GroupName, role: string): Promise<void> {
  await client.query(
    'INSERT INTO bus_groups (topic, group_name, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
    [topic, group, role],
  );
  const { rows } = await client.query<{ role: string }>(
    'SELECT role FROM bus_groups WHERE topic = $1 AND group_name = $2',
    [topic, group],
  );
  const found = rows[0]?.role;
  if (found === role) return;
  throw new GroupInUseError(
    `group ${group} of ${topic} belongs to the role ${found}: give ${role} a group of its own (--group), ` +
      `or drop this one (mdp stream groups --drop ${group})`,
  );
}

/** of the micro-batcher, beside its positions; absent before schema/005 */
const BARS_STATE = ['bars_partitions', 'bars_watermarks', 'bars_late_windows'];

/**
 * Deletes the role, the leases, the positions, the checkpoints and the state of a group: when restarted, it begins
 * where the topic does; processes still working for it are refused from then on.
 */
export async function forgetGroup(client: Client, { topic, group }: GroupName): Promise<void> {
  const { rows: state } = await client.query<{ name: string }>(
    'SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL',
    [BARS_STATE],
  );
  const forgotten = state.map(
    ({ name }) => `${name} AS (DELETE FROM ${name} WHERE topic = $1 AND group_name = $2), `,
  );
  await client.query(
    `WITH ${forgotten.join('')}groups AS (DELETE FROM bus_groups WHERE topic = $1 AND group_name = $2),
          members AS (DELETE FROM bus_members WHERE topic = $1 AND group_name = $2 AND session IS NULL),
          marks AS (DELETE FROM bus_marks WHERE topic = $1 AND group_name IN ($2, $2 || ' alone')),
          positions AS (DELETE FROM bus_positions WHERE topic = $1 AND group_name = $2)
     DELETE FROM bus_partitions WHERE topic = $1 AND group_name = $2`,
    [topic, group],
  );
}

/** Creates the missing rows of the group's partitions 0 … partitions − 1, and deletes members long dead. */
export async function makePartitions(
  client: Client,
  { topic, group }: GroupName,
  partitions: number,
): Promise<void> {
  await client.query(
    `INSERT INTO bus_partitions (topic, group_name, partition) SELECT $1, $2, generate_series(0, $3::int - 1)
     ON CONFLICT DO NOTHING`,
    [topic, group, partitions],
  );
  await client.query(
    `DELETE FROM bus_members WHERE topic = $1 AND group_name = $2 AND session IS NULL
       AND expires_at < clock_timestamp() - interval '1 hour'`,
    [topic, group],
  );
}

/** When the member expires unless it renews, µs since 1970 by the database's clock; null: it is not alive. */
export async function memberExpiry(
  client: Client,
  { topic, group }: GroupName,
  member: string,
): Promise<string | null> {
  const { rows } = await client.query<{ us: string }>(
    `SELECT ${microsOf('expires_at')} AS us FROM bus_members
      WHERE topic = $1 AND group_name = $2 AND member = $3 AND session IS NULL AND expires_at > clock_timestamp()`,
    [topic, group, member],
  );
  return rows[0]?.us ?? null;
}

export interface LeaseState {
  partition: number;
  epoch: bigint;
  /** null: nobody holds it, or its lease has expired */
  holder: string | null;
}

export interface GroupState {
  /** names of the live members, this one included */
  members: string[];
  leases: LeaseState[];
}

/**
 * Call it every second: keeps the member and its leases alive and returns the resulting state of the group. An expired
 * lease is still renewed if nobody took it; one with another epoch is lost.
 */
export async function renewLeases(
  client: Client,
  { topic, group }: GroupName,
  member: string,
  held: readonly HeldPartition[],
): Promise<GroupState> {
  await client.query(
    `INSERT INTO bus_members (topic, group_name, member, expires_at) VALUES ($1, $2, $3, clock_timestamp() + ${LEASE})
     ON CONFLICT (topic, group_name, member) DO UPDATE SET expires_at = excluded.expires_at`,
    [topic, group, member],
  );
  await client.query(
    `UPDATE bus_partitions b SET lease_expires_at = clock_timestamp() + ${LEASE}
       FROM unnest($4::int[], $5::bigint[]) AS mine (partition, epoch)
      WHERE b.topic = $1 AND b.group_name = $2 AND b.holder = $3 AND b.partition = mine.partition AND b.epoch = mine.epoch`,
    [topic, group, member, held.map(({ partition }) => partition), held.map(({ epoch }) => epoch.toString())],
  );
  const members = await client.query<{ member: string }>(
    `SELECT member FROM bus_members
      WHERE topic = $1 AND group_name = $2 AND session IS NULL AND expires_at > clock_timestamp() ORDER BY member`,
    [topic, group],
  );
  const leases = await client.query<{ partition: number; epoch: string; holder: string | null }>(
    `SELECT partition, epoch, CASE WHEN lease_expires_at > clock_timestamp() THEN holder END AS holder
       FROM bus_partitions WHERE topic = $1 AND group_name = $2 ORDER BY partition`,
    [topic, group],
  );
  return {
    members: members.rows.map((row) => row.member),
    leases: leases.rows.map((row) => ({ ...row, epoch: BigInt(row.epoch) })),
  };
}

/** A partition that was taken, and how far its role has got in it. */
export interface TakenPartition extends HeldPartition {
  /** null: the role never committed one */
  position: string | null;
}

/**
 * Takes a partition that nobody else holds, with the given `state`; null when another member was faster. Waits for the
 * transactions of the old owner, and ends those that hang: none of them can commit afterwards.
 */
export async function takePartition(
  client: Client,
  { topic, group }: GroupName,
  member: string,
  state: LeaseState,
): Promise<TakenPartition | null> {
  const partition = [topic, group, state.partition];
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED');
  const { rows: fences } = await client.query<{ fence: number }>(
    'SELECT fence FROM bus_partitions WHERE topic = $1 AND group_name = $2 AND partition = $3',
    partition,
  );
  const fence = fences[0]?.fence;
  if (fence !== undefined) await takeExclusiveFence(client, { first: 'bus_fence_key()', second: fence });
  const { rows } = await client.query<{ epoch: string; position: string | null }>(
    `UPDATE bus_partitions SET epoch = ${NEXT_EPOCH}, holder = $4, lease_expires_at = clock_timestamp() + ${LEASE}
      WHERE topic = $1 AND group_name = $2 AND partition = $3 AND epoch = $5
        AND (holder IS NULL OR holder = $4 OR lease_expires_at <= clock_timestamp())
      RETURNING epoch, (SELECT p."position" FROM bus_positions p
        WHERE p.topic = $1 AND p.group_name = $2 AND p.partition = $3) AS position`,
    [...partition, member, state.epoch.toString()],
  );
  await client.query('COMMIT');
  const won = rows[0];
  if (won === undefined) return null;
  return { partition: state.partition, epoch: BigInt(won.epoch), position: won.position };
}

/** Releases a partition: the next member need not wait for the lease to expire. */
export async function releasePartition(
  client: Client,
  { topic, group }: GroupName,
  member: string,
  { partition, epoch }: HeldPartition,
): Promise<void> {
  await client.query(
    `UPDATE bus_partitions SET holder = NULL, lease_expires_at = NULL
      WHERE topic = $1 AND group_name = $2 AND partition = $3 AND epoch = $4 AND holder = $5`,
    [topic, group, partition, epoch.toString(), member],
  );
}

export async function leaveMembers(
  client: Client,
  { topic, group }: GroupName,
  member: string,
): Promise<void> {
  await client.query(
    'DELETE FROM bus_members WHERE topic = $1 AND group_name = $2 AND member = $3 AND session IS NULL',
    [topic, group, member],
  );
}

/**
 * First statement in the transaction that writes the role's results for the records up to `position`: until that
 * transaction ends the partition cannot be taken over. READ COMMITTED. Rejects with SQLSTATE MDF01 (storeVerdict:
 * fenced) if it already was.
 */
export async function commitPosition(
  client: Client,
  { topic, group }: GroupName,
  { partition, epoch }: HeldPartition,
  position: string,
): Promise<void> {
  await client.query({
    ...prepared(client, 'bus_commit_position'),
    text: 'SELECT bus_commit_position($1, $2, $3, $4, $5)',
    values: [topic, group, partition, epoch.toString(), position],
  });
}
