import { createHash } from 'node:crypto';
import type { SnapshotText, TickKey } from '../../../store/live/ticks.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot-id.ts';
import { LiveIdError } from '../source.ts';
import type { Vector } from '../vector.ts';

/**
 * What was stored when: everything acknowledged is shown by the snapshot, and nothing of what the bus took after a later
 * position is, unless it had been there before.
 */
export interface Checkpoint {
  acknowledged: Vector;
  snapshot: SnapshotText;
}

/** Where a subscription to ticks is. */
export type TickPlace =
  /** before everything from this time on, µs */
  | { kind: 'start'; fromUs: bigint }
  /** behind this tick of the history that `checkpoint` shows and `without` does not; null: before the first */
  | {
      kind: 'history';
      log: string;
      checkpoint: Checkpoint;
      fromUs: bigint;
      without: SnapshotText | null;
      last: TickKey | null;
    }
  /** behind what `checkpoint` shows and these records of the bus */
  | { kind: 'bus'; log: string; checkpoint: Checkpoint; positions: Vector; takenMs: number };

const START = 't1f';
const HISTORY = 't1h';
const BUS = 't1b';
/** far above what 100 partitions and a long symbol need */
const ID_CHARS_MAX = 16_384;
const LOG = /^[\w-]{8}$/;
const POSITION = /^\d{1,20}(-\d{1,20})?$/;
const MICROS = /^\d{1,16}$/;

/** A name for the log that positions belong to: in another one they mean nothing. */
export function logTag(logName: string): string {
  return createHash('sha256').update(logName).digest('base64url').slice(0, 8);
}

export function startId(fromUs: bigint): string {
  return `${START}~${fromUs < 0n ? 0n : fromUs}`;
}

/** What the ids of a history have in common; behind it come `~` and the key. */
export function historyPrefix({ log, checkpoint, fromUs, without }: TickPlace & { kind: 'history' }): string {
  const { acknowledged, snapshot } = checkpoint;
  return [
    HISTORY,
    log,
    packSnapshot(snapshot),
    acknowledged.map(textOf).join('_'),
    fromUs < 0n ? 0n : fromUs,
    without === null ? '' : packSnapshot(without),
  ].join('~');
}

export function packKey({ ts, seq, provider, symbol }: TickKey): string {
  return `${ts}.${seq}.${Buffer.from(`${provider}|${symbol}`).toString('base64url')}`;
}

/** Writes the ids of records behind a checkpoint: of a batch only one partition's position changes. */
export class BusIds {
  readonly #head: string;
  readonly #acknowledged: Vector;

  constructor(log: string, { acknowledged, snapshot }: Checkpoint) {
    this.#head = `${BUS}~${log}~${packSnapshot(snapshot)}~`;
    this.#acknowledged = acknowledged;
  }

  of(positions: Vector, takenMs: number): string {
    return this.batch(positions, 0)(positions[0] ?? null, takenMs);
  }

  batch(positions: Vector, partition: number): (position: string | null, takenMs: number) => string {
    const places = positions.map(
      (position, at) => `${textOf(position)}.${textOf(this.#acknowledged[at] ?? null)}`,
    );
    const head = [...places.slice(0, partition), ''].join('_');
    const tail = ['', ...places.slice(partition + 1)].join('_');
    const own = textOf(this.#acknowledged[partition] ?? null);
    return (position, takenMs) =>
      `${this.#head}${head}${textOf(position)}.${own}${tail}~${Math.floor(takenMs).toString(36)}`;
  }
}

/** @throws LiveIdError for what was not written here, as far as that can be seen */
export function parsePlace(id: string, partitions: number): TickPlace {
  if (id.length > ID_CHARS_MAX) throw new LiveIdError('the id is too long');
  const [kind, ...parts] = id.split('~');
  if (kind === START && parts.length === 1) return { kind: 'start', fromUs: microsIn(parts[0]) };
  if (kind === HISTORY && parts.length === 6) {
    const [log, snapshot, acknowledged, from, without, last] = parts as [
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    return {
      kind: 'history',
      log: logIn(log),
      checkpoint: {
        snapshot: unpackSnapshot(snapshot),
        acknowledged: ofPartitions(acknowledged.split('_').map(positionIn), partitions),
      },
      fromUs: microsIn(from),
      without: without === '' ? null : unpackSnapshot(without),
      last: last === '' ? null : keyIn(last),
    };
  }
  if (kind === BUS && parts.length === 4) {
    const [log, snapshot, pairs, taken] = parts as [string, string, string, string];
    const places = pairs.split('_').map((pair) => pair.split('.'));
    if (places.some(({ length }) => length !== 2)) throw new LiveIdError('the id holds no positions');
    if (!/^[0-9a-z]{1,10}$/.test(taken)) throw new LiveIdError('the id holds no time');
    return {
      kind: 'bus',
      log: logIn(log),
      checkpoint: {
        snapshot: unpackSnapshot(snapshot),
        acknowledged: ofPartitions(
          places.map(([, acknowledged]) => positionIn(acknowledged)),
          partitions,
        ),
      },
      positions: places.map(([position]) => positionIn(position)),
      takenMs: Number.parseInt(taken, 36),
    };
  }
  throw new LiveIdError('this is no id of the topic ticks');
}

function textOf(position: string | null): string {
  return position ?? '';
}

function positionIn(text: string | undefined): string | null {
  if (text === '') return null;
  if (text === undefined || !POSITION.test(text))
    throw new LiveIdError('the id holds no position of this bus');
  return text;
}

function ofPartitions(vector: Vector, partitions: number): Vector {
  if (vector.length === partitions) return vector;
  throw new LiveIdError(`the id is of ${vector.length} partitions, the bus has ${partitions}`);
}

function logIn(text: string): string {
  if (LOG.test(text)) return text;
  throw new LiveIdError('the id names no log');
}

function microsIn(text: string | undefined): bigint {
  if (text !== undefined && MICROS.test(text)) return BigInt(text);
  throw new LiveIdError('the id holds no time');
}

function keyIn(text: string): TickKey {
  const match = /^(\d{1,16})\.(\d{1,19})\.([\w-]+)$/.exec(text);
  const names = match === null ? null : Buffer.from(match[3], 'base64url').toString();
  const bar = names?.indexOf('|') ?? -1;
  // NUL is in no name, and the database takes none
  if (match === null || names === null || bar < 1 || names.includes('\0'))
    throw new LiveIdError('the id names no tick');
  const seq = BigInt(match[2]);
  if (seq >= 2n ** 63n) throw new LiveIdError('the id names no tick');
  return { ts: BigInt(match[1]), seq, provider: names.slice(0, bar), symbol: names.slice(bar + 1) };
}
