import type { SnapshotText } from '../../store/live/ticks.ts';
import { LiveIdError } from './source.ts';

/** transactions that a snapshot lists as running; more than a server has connections */
const RUNNING_MAX = 10_000;
const PACKED = /^[0-9a-z]{1,13}(\.[0-9a-z]{1,13}){1,10001}$/;

/** A snapshot in the characters of ids: `10:20:10,14` is `a.a.0.4`, the lowest and distances to it. */
export function packSnapshot(text: SnapshotText): string {
  const [lowest = '0', end = '0', running = ''] = text.split(':');
  const first = BigInt(lowest);
  const others = [end, ...(running === '' ? [] : running.split(','))];
  return [first, ...others.map((other) => BigInt(other) - first)]
    .map((number) => number.toString(36))
    .join('.');
}

/** @throws LiveIdError: the database would refuse it */
export function unpackSnapshot(packed: string): SnapshotText {
  if (!PACKED.test(packed)) throw new LiveIdError('the id holds no snapshot');
  const [first, width, ...distances] = packed.split('.').map(numberOf) as [bigint, bigint, ...bigint[]];
  const isSound =
    first > 0n &&
    first + width < 2n ** 63n &&
    distances.length <= RUNNING_MAX &&
    distances.every((distance, at) => distance < width && (at === 0 || distance > distances[at - 1]));
  if (!isSound) throw new LiveIdError('the id holds no snapshot');
  return `${first}:${first + width}:${distances.map((distance) => first + distance).join(',')}`;
}

function numberOf(text: string): bigint {
  let value = 0n;
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return value;
}
