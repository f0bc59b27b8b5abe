import { InvalidArgumentError } from 'commander';
import type { Delivery, OutgoingRecord, StreamBus } from '../../../bus/bus.ts';
import {
  DEAD_LETTER_TOPIC,
  decodeDeadLetter,
  deadLetterId,
  type MarketDeadLetter,
} from '../../../core/market/dead-letter.ts';
import { formatMicros } from '../../../core/time.ts';
import { wholeBigint } from '../arguments.ts';
import { printable, type Print, shorten, tableLines } from '../text.ts';

/** Records read at once: a dead letter may be 1 MiB. */
const PAGE = 100;
const DETAIL_CHARS = 60;
const RAW_CHARS = 2_000;

/** A dead letter of the chain has a number, one of the bus has topic|msg_id; for commander's argParser. */
export function parseDeadLetterId(text: string): bigint | string {
  if (!text.includes('|')) return wholeBigint(text);
  if (text.length > 300)
    throw new InvalidArgumentError('Expected topic|msg_id as "mdp dlq list --bus" shows it.');
  return text;
}

type Summary = Omit<MarketDeadLetter, 'raw'> & { isCut: boolean };

/** Every dead letter that is on the bus now, the oldest first; `visit` gets those that are there twice only once. */
async function eachDeadLetter(
  bus: StreamBus,
  visit: (id: string, deadLetter: MarketDeadLetter) => Promise<void> | void,
): Promise<void> {
  const seen = new Set<string>();
  for (let partition = 0; partition < bus.partitions(DEAD_LETTER_TOPIC); partition += 1) {
    // what comes meanwhile is left out: a retry makes new ones
    const last = (await bus.tail(DEAD_LETTER_TOPIC, partition, 1)).at(-1)?.position;
    for (let after: string | null = null; after !== last;) {
      const records: Delivery[] = await bus.read(DEAD_LETTER_TOPIC, partition, after, PAGE);
      if (records.length === 0) break;
      for (const { data, position } of records) {
        after = position;
        const deadLetter = data === null ? null : decodeDeadLetter(data);
        const id = deadLetter === null ? '' : deadLetterId(deadLetter);
        if (deadLetter !== null && !seen.has(id)) {
          seen.add(id);
          await visit(id, deadLetter);
        }
        if (position === last) break;
      }
    }
  }
}

export async function listBusDeadLetters(
  bus: StreamBus,
  { reason, limit, isJson }: { reason: string | null; limit: number; isJson: boolean },
  print: Print,
): Promise<void> {
  const found: (Summary & { id: string })[] = [];
  await eachDeadLetter(bus, (id, { raw, ...deadLetter }) => {
    if (reason === null || deadLetter.reason === reason)
      found.push({ ...deadLetter, id, isCut: deadLetter.rawBytes > raw.length });
  });
  const shown = found.toReversed().slice(0, limit === 0 ? found.length : limit);
  if (isJson) {
    for (const deadLetter of shown) print(JSON.stringify(deadLetterJson(deadLetter.id, deadLetter)));
    return;
  }
  const rows = shown.map(({ id, reason, rawBytes, at, group, detail }) => [
    ...[id, reason, `${rawBytes}`, formatMicros(at), group ?? '-'].map(printable),
    shorten(printable(detail), DETAIL_CHARS),
  ]);
  if (rows.length > 0) for (const line of tableLines(COLUMNS, rows)) print(line);
  const rest = shown.length < found.length ? `, the newest ${shown.length} shown (--limit 0 shows all)` : '';
  print(`${found.length} dead letter${found.length === 1 ? '' : 's'} on the bus${rest}`);
}

const COLUMNS = [
  { title: 'id', align: 'left' },
  { title: 'reason', align: 'left' },
  { title: 'bytes', align: 'right' },
  { title: 'at', align: 'left' },
  { title: 'group', align: 'left' },
  { title: 'detail', align: 'left' },
] as const;

function deadLetterJson(id: string, deadLetter: Summary): Record<string, unknown> {
  const { topic, msgId, group, reason, detail, key, encoding, rawBytes, rawSha256, at, isCut } = deadLetter;
  return {
    event_id: id,
    source: 'bus',
    topic,
    msg_id: msgId,
    group,
    reason,
    detail,
    key,
    encoding,
    bytes: rawBytes,
    is_cut: isCut,
    raw_sha256: rawSha256,
    at: formatMicros(at),
  };
}

/** @param writeRaw takes the exact bytes; true: nothing else is to be shown. Returns why it failed, or null. */
export async function showBusDeadLetter(
  bus: StreamBus,
  id: string,
  { isJson, writeRaw }: { isJson: boolean; writeRaw: ((raw: Uint8Array) => Promise<boolean>) | null },
  print: Print,
): Promise<string | null> {
  const found: MarketDeadLetter[] = [];
  await eachDeadLetter(bus, (other, deadLetter) => void (other === id && found.push(deadLetter)));
  const [deadLetter] = found;
  if (deadLetter === undefined) return `there is no dead letter ${printable(id)} on the bus`;
  const { raw } = deadLetter;
  if ((await writeRaw?.(raw)) === true) return null;
  const fields = deadLetterJson(id, { ...deadLetter, isCut: deadLetter.rawBytes > raw.length });
  if (isJson) {
    print(JSON.stringify({ ...fields, raw: Buffer.from(raw).toString('base64') }));
    return null;
  }
  for (const [name, value] of Object.entries(fields)) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    print(`${name.padEnd(10)}  ${value === null ? '-' : printable(text)}`);
  }
  const text =
    deadLetter.encoding === 'json' ? Buffer.from(raw).toString('utf8') : Buffer.from(raw).toString('hex');
  print(`${'raw'.padEnd(10)}  ${printable(shorten(text, RAW_CHARS))}`);
  return null;
}

export interface BusRetry {
  /** null: all that fit the reason */
  ids: readonly string[] | null;
  reason: string | null;
  isJson: boolean;
}

/** Publishes their records again, each on its topic, under its key and in its encoding. Returns why it failed, or null. */
export async function retryBusDeadLetters(
  bus: StreamBus,
  { ids, reason, isJson }: BusRetry,
  print: Print,
): Promise<string | null> {
  const wanted = ids === null ? null : new Set(ids);
  let chosen = wanted?.size ?? 0;
  let left = 0;
  const tell = (id: string, outcome: string, position: string | null): void => {
    if (position === null) left += 1;
    if (isJson) print(JSON.stringify({ event_id: id, outcome, done: position !== null, msg_id: position }));
    else
      print(`${printable(id)}  ${outcome.replaceAll('_', ' ')}${position === null ? '' : ` as ${position}`}`);
  };
  await eachDeadLetter(bus, async (id, deadLetter) => {
    if (!(wanted?.delete(id) ?? (reason === null || deadLetter.reason === reason))) return;
    if (wanted === null) chosen += 1;
    if (deadLetter.rawBytes > deadLetter.raw.length) {
      tell(id, 'cut', null);
      return;
    }
    // mdp.events:3 names a partition, which the key decides
    const [topic = deadLetter.topic] = deadLetter.topic.split(':');
    const [position = ''] = await bus.publish(topic, [recordOf(deadLetter)]);
    tell(id, 'published_again', position);
  });
  for (const id of wanted ?? []) tell(id, 'not_found', null);
  if (chosen === 0 && !isJson) print('no dead letter on the bus fits: nothing to do');
  return left === 0 ? null : `${left} of ${chosen} not published again`;
}

function recordOf({ key, raw, encoding }: MarketDeadLetter): OutgoingRecord {
  return { key: key ?? '', eventId: null, data: raw, encoding };
}
