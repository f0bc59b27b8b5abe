import type { RowKey } from '../../../store/live/rows.ts';
import type { SnapshotText } from '../../../store/live/ticks.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot-id.ts';
import { LiveIdError } from '../source.ts';

/** Where a subscription to a table is. */
export type ChangePlace =
  /** behind this row of what the snapshot shows from a time on; null: before the first; no snapshot: taken when it begins */
  | { kind: 'history'; snapshot: SnapshotText | null; fromUs: bigint; last: RowKey | null }
  /** behind this row of what `to` shows and `from` does not; null: before the first of them */
  | { kind: 'changes'; from: SnapshotText; to: SnapshotText; last: (RowKey & { tx: bigint }) | null }
  /** behind everything that the snapshot shows */
  | { kind: 'behind'; snapshot: SnapshotText };

const ID_CHARS_MAX = 16_384;

/** Ids of one topic: they begin with its letter. */
export class ChangeIds {
  readonly #letter: string;

  /** @param letter of the topic */
  constructor(letter: string) {
    this.#letter = letter;
  }

  of(place: ChangePlace): string {
    switch (place.kind) {
      case 'history': {
        const snapshot = place.snapshot === null ? '' : packSnapshot(place.snapshot);
        const from = place.fromUs < 0n ? 0n : place.fromUs;
        return `${this.#letter}1h~${snapshot}~${from}~${place.last === null ? '' : packKey(place.last)}`;
      }
      case 'changes': {
        const { from, to, last } = place;
        const key = last === null ? '' : `${last.tx}.${packKey(last)}`;
        return `${this.#letter}1c~${packSnapshot(from)}~${packSnapshot(to)}~${key}`;
      }
      case 'behind':
        return `${this.#letter}1s~${packSnapshot(place.snapshot)}`;
    }
  }

  /** @throws LiveIdError */
  parse(id: string): ChangePlace {
    if (id.length > ID_CHARS_MAX) throw new LiveIdError('the id is too long');
    const [kind, first, second, third] = id.split('~');
    if (kind === `${this.#letter}1h` && first !== undefined && second !== undefined && third !== undefined) {
      if (!/^\d{1,16}$/.test(second)) throw new LiveIdError('the id holds no time');
      const snapshot = first === '' ? null : unpackSnapshot(first);
      return { kind: 'history', snapshot, fromUs: BigInt(second), last: third === '' ? null : keyIn(third) };
    }
    if (kind === `${this.#letter}1c` && first !== undefined && second !== undefined && third !== undefined) {
      const dot = third.indexOf('.');
      const tx = third.slice(0, dot);
      if (third !== '' && !/^\d{1,19}$/.test(tx)) throw new LiveIdError('the id names no row');
      const last = third === '' ? null : { tx: BigInt(tx), ...keyIn(third.slice(dot + 1)) };
      return { kind: 'changes', from: unpackSnapshot(first), to: unpackSnapshot(second), last };
    }
    if (kind === `${this.#letter}1s` && first !== undefined && second === undefined)
      return { kind: 'behind', snapshot: unpackSnapshot(first) };
    throw new LiveIdError('this is no id of this topic');
  }
}

function packKey({ ts, names }: RowKey): string {
  return `${ts}.${Buffer.from(names.join('|')).toString('base64url')}`;
}

function keyIn(text: string): RowKey {
  const match = /^(\d{1,16})\.([\w-]+)$/.exec(text);
  const names = match === null ? [] : Buffer.from(match[2], 'base64url').toString().split('|');
  if (match === null || names.length !== 3 || names.some((name) => name.includes('\0')))
    throw new LiveIdError('the id names no row');
  return { ts: BigInt(match[1]), names: names as [string, string, string] };
}
