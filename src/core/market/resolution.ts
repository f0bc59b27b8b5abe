import { formatMicros, parseIsoMicros, type Micros } from '../time.ts';
import { deadLetterId, type MarketDeadLetter } from './dead-letter.ts';

/** What an operator did with a dead letter. */
export type ResolvedBy = 'retried' | 'discarded';

export interface ResolvedDeadLetter {
  /** deadLetterId() */
  id: string;
  /** of the record: where a topic was made anew, another one may have the same id */
  rawSha256: string;
  /** where the record was published again; null: it was not */
  msgId: string | null;
}

/**
 * Dead letters that nobody has to look at any more. It is a record of the dead letter topic itself, behind them: no bus
 * can change what is there, and so a dead letter and what became of it are kept and lost together.
 */
export interface Resolution {
  by: ResolvedBy;
  deadLetters: readonly ResolvedDeadLetter[];
  at: Micros;
}

const VERSION = 1;
const KIND = 'resolution';

/** The same for a dead letter and for what says that it is resolved. */
export function resolvedKey({ id, rawSha256 }: Pick<ResolvedDeadLetter, 'id' | 'rawSha256'>): string {
  return `${rawSha256}|${id}`;
}

export function resolvedKeyOf(deadLetter: MarketDeadLetter): string {
  return resolvedKey({ id: deadLetterId(deadLetter), rawSha256: deadLetter.rawSha256 });
}

/** JSON, like the dead letters. */
export function encodeResolution({ by, deadLetters, at }: Resolution): Uint8Array {
  const record = {
    ver: VERSION,
    kind: KIND,
    by,
    at: formatMicros(at),
    dead_letters: deadLetters.map(({ id, rawSha256, msgId }) => ({
      event_id: id,
      raw_sha256: rawSha256,
      ...(msgId === null ? {} : { msg_id: msgId }),
    })),
  };
  return Buffer.from(JSON.stringify(record));
}

/** null when the bytes are not such a record. */
export function decodeResolution(data: Uint8Array): Resolution | null {
  try {
    return resolutionOf(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data)));
  } catch {
    return null;
  }
}

/** @throws RangeError when `at` is not a time */
function resolutionOf(value: unknown): Resolution | null {
  const record = fieldsOf(value);
  const by = record?.get('by');
  const at = record?.get('at');
  const deadLetters = record?.get('dead_letters');
  if (record?.get('ver') !== VERSION || record.get('kind') !== KIND || !Array.isArray(deadLetters))
    return null;
  if ((by !== 'retried' && by !== 'discarded') || typeof at !== 'string') return null;
  const resolved: ResolvedDeadLetter[] = [];
  for (const each of deadLetters) {
    const fields = fieldsOf(each);
    const [id, rawSha256, msgId] = ['event_id', 'raw_sha256', 'msg_id'].map((name) => fields?.get(name));
    if (typeof id !== 'string' || typeof rawSha256 !== 'string') return null;
    resolved.push({ id, rawSha256, msgId: typeof msgId === 'string' ? msgId : null });
  }
  return { by, deadLetters: resolved, at: parseIsoMicros(at) };
}

function fieldsOf(value: unknown): Map<string, unknown> | null {
  return typeof value === 'object' && value !== null ? new Map<string, unknown>(Object.entries(value)) : null;
}
