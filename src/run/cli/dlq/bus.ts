import { InvalidArgumentError } from 'commander';
import type { StreamBus } from '../../../bus/bus.ts';
import { formatMicros } from '../../../core/time.ts';
import { findDeadLetter, listDeadLetters, type ListedDeadLetter } from '../../../stream/dead-letters/list.ts';
import { wholeBigint } from '../arguments.ts';
import { printable, type Print, shorten, tableLines } from '../text.ts';

const DETAIL_CHARS = 60;
const RAW_CHARS = 2_000;

/** A dead letter of the chain has a number, one of the bus has topic|msg_id; for commander's argParser. */
export function parseDeadLetterId(text: string): bigint | string {
  if (!text.includes('|')) return wholeBigint(text);
  if (text.length > 300)
    throw new InvalidArgumentError('Expected topic|msg_id as "mdp dlq list --bus" shows it.');
  return text;
}

export interface BusListOptions {
  status: 'open' | 'resolved' | 'all';
  reason: string | null;
  /** 0: all */
  limit: number;
  isJson: boolean;
}

export async function listBusDeadLetters(
  bus: StreamBus,
  { status, reason, limit, isJson }: BusListOptions,
  print: Print,
): Promise<void> {
  const query = { status, reason, before: null, limit: limit === 0 ? Number.MAX_SAFE_INTEGER : limit };
  const { deadLetters, total } = await listDeadLetters(bus, query);
  if (isJson) {
    for (const deadLetter of deadLetters) print(JSON.stringify(deadLetterJson(deadLetter)));
    return;
  }
  const rows = deadLetters.map((deadLetter) => [
    ...[deadLetter.id, deadLetter.reason, `${deadLetter.rawBytes}`, formatMicros(deadLetter.at)].map(
      printable,
    ),
    ...(status === 'open' ? [] : [deadLetter.resolved?.by ?? 'open']),
    printable(deadLetter.group ?? '-'),
    shorten(printable(deadLetter.detail), DETAIL_CHARS),
  ]);
  const columns = COLUMNS.filter(({ title }) => status !== 'open' || title !== 'status');
  if (rows.length > 0) for (const line of tableLines(columns, rows)) print(line);
  const shown = deadLetters.length;
  const rest = shown < total ? `, the newest ${shown} shown (--limit 0 shows all)` : '';
  const kind = status === 'resolved' ? 'resolved ' : '';
  print(`${total} ${kind}dead letter${total === 1 ? '' : 's'} on the bus${rest}`);
}

const COLUMNS = [
  { title: 'id', align: 'left' },
  { title: 'reason', align: 'left' },
  { title: 'bytes', align: 'right' },
  { title: 'at', align: 'left' },
  { title: 'status', align: 'left' },
  { title: 'group', align: 'left' },
  { title: 'detail', align: 'left' },
] as const;

function deadLetterJson(deadLetter: ListedDeadLetter): Record<string, unknown> {
  const { id, topic, msgId, group, reason, detail, key, encoding } = deadLetter;
  const { rawBytes, rawSha256, at, isCut, resolved } = deadLetter;
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
    status: resolved === null ? 'open' : 'resolved',
    resolved_by: resolved?.by ?? null,
    resolved_at: resolved === null ? null : formatMicros(resolved.at),
    published_as: resolved?.msgId ?? null,
  };
}

/** @param writeRaw takes the exact bytes; true: nothing else is to be shown. Returns why it failed, or null. */
export async function showBusDeadLetter(
  bus: StreamBus,
  id: string,
  { isJson, writeRaw }: { isJson: boolean; writeRaw: ((raw: Uint8Array) => Promise<boolean>) | null },
  print: Print,
): Promise<string | null> {
  const deadLetter = await findDeadLetter(bus, id);
  if (deadLetter === null) return `there is no dead letter ${printable(id)} on the bus`;
  const { raw } = deadLetter;
  if ((await writeRaw?.(raw)) === true) return null;
  const fields = deadLetterJson(deadLetter);
  if (isJson) {
    print(JSON.stringify({ ...fields, raw: Buffer.from(raw).toString('base64') }));
    return null;
  }
  for (const [name, value] of Object.entries(fields)) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    print(`${name.padEnd(12)}  ${value === null ? '-' : printable(text)}`);
  }
  const text =
    deadLetter.encoding === 'json' ? Buffer.from(raw).toString('utf8') : Buffer.from(raw).toString('hex');
  print(`${'raw'.padEnd(12)}  ${printable(shorten(text, RAW_CHARS))}`);
  return null;
}
