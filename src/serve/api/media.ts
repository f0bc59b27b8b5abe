import { ApiError } from './errors.ts';

/** Formats of answers, the preferred one first. */
export const FORMATS = ['json', 'csv', 'ndjson', 'arrow'] as const;
export type Format = (typeof FORMATS)[number];

export const MEDIA_TYPES: Readonly<Record<Format, string>> = {
  json: 'application/json',
  csv: 'text/csv',
  ndjson: 'application/x-ndjson',
  arrow: 'application/vnd.apache.arrow.stream',
};

/** As it is written on an answer. */
export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  json: 'application/json; charset=utf-8',
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
  arrow: 'application/vnd.apache.arrow.stream',
};

/** Names that programs use for the same. */
const ALIASES: Readonly<Record<string, Format>> = {
  'application/ndjson': 'ndjson',
  'application/jsonl': 'ndjson',
};

/**
 * The format of an answer: the one of the query, else the one that Accept likes best, of those that the route has.
 * @throws ApiError not_acceptable
 */
export function formatFor(
  asked: Format | undefined,
  accept: string | undefined,
  offered: readonly Format[] = FORMATS,
): Format {
  if (asked !== undefined) {
    if (offered.includes(asked)) return asked;
    throw notAcceptable(offered);
  }
  if (accept === undefined || accept.trim() === '') return offered[0];
  const wishes = accept.split(',').map(wishOf);
  let best: { format: Format; quality: number } | null = null;
  for (const format of offered) {
    const quality = qualityOf(format, wishes);
    if (quality > (best?.quality ?? 0)) best = { format, quality };
  }
  if (best === null) throw notAcceptable(offered);
  return best.format;
}

interface Wish {
  type: string;
  quality: number;
}

function wishOf(part: string): Wish {
  const [type = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
  const quality = parameters.find((text) => text.startsWith('q='))?.slice(2);
  const known = quality === undefined ? 1 : Number(quality);
  return { type, quality: known >= 0 && known <= 1 ? known : 0 };
}

/** By the wish that names the format most closely. */
function qualityOf(format: Format, wishes: readonly Wish[]): number {
  const type = MEDIA_TYPES[format];
  const exact = wishes.find((wish) => wish.type === type || ALIASES[wish.type] === format);
  const family = wishes.find((wish) => wish.type === `${type.split('/', 1)[0]}/*`);
  const any = wishes.find((wish) => wish.type === '*/*');
  return (exact ?? family ?? any)?.quality ?? 0;
}

function notAcceptable(offered: readonly Format[]): ApiError {
  const types = offered.map((format) => MEDIA_TYPES[format]).join(', ');
  return new ApiError('not_acceptable', `this is answered as ${types}`);
}
