import { PROVIDERS } from './market-ticks.ts';
import { textLiteral, type Query } from './query.ts';

/** The last symbol of a page; of webhook ticks the provider is ''. */
export interface SymbolKey {
  provider: string;
  symbol: string;
}

const COLUMNS = [
  { name: 'provider', type: 'text', repeats: true },
  { name: 'symbol', type: 'text' },
] as const;

/**
 * What there are market ticks of, in the order of (provider, symbol). Each step goes to the next name in the index, so the
 * cost is the number of symbols and not that of ticks; the rows come in the order in which they are found, which no sort
 * confirms: it would find all of them before the first page.
 */
export function marketSymbols(provider: string | null, after: SymbolKey | null): Query {
  const conditions = ['p.provider IS NOT NULL'];
  if (provider !== null) conditions.push(`p.provider = ${textLiteral(provider)}`);
  if (after !== null) conditions.push(`p.provider >= ${textLiteral(after.provider)}`);
  const behind =
    after === null
      ? ''
      : ` AND t.symbol > CASE WHEN p.provider = ${textLiteral(after.provider)} THEN ${textLiteral(after.symbol)} ELSE '' END`;
  // one provider needs no search for the others
  const providers =
    provider === null
      ? PROVIDERS
      : `WITH providers AS (SELECT ${textLiteral(provider)} COLLATE "C" AS provider)`;
  return {
    columns: COLUMNS,
    sql: `${providers}
      SELECT p.provider, s.symbol FROM providers p CROSS JOIN LATERAL (
        WITH RECURSIVE symbols AS (
          (SELECT t.symbol FROM tick_data t WHERE t.provider = p.provider${behind} ORDER BY t.symbol LIMIT 1)
          UNION ALL
          SELECT (SELECT t.symbol FROM tick_data t
                   WHERE t.provider = p.provider AND t.symbol > l.symbol ORDER BY t.symbol LIMIT 1)
            FROM symbols l WHERE l.symbol IS NOT NULL
        ) SELECT symbol FROM symbols WHERE symbol IS NOT NULL) s
      WHERE ${conditions.join(' AND ')}`,
  };
}

/** What there are webhook ticks of, in order; found as those of the market. */
export function webhookSymbols(after: SymbolKey | null): Query {
  const behind = after === null ? '' : `WHERE symbol > ${textLiteral(after.symbol)}`;
  return {
    columns: COLUMNS,
    sql: `WITH RECURSIVE symbols AS (
        (SELECT symbol FROM md_ticks ${behind} ORDER BY symbol LIMIT 1)
        UNION ALL
        SELECT (SELECT t.symbol FROM md_ticks t WHERE t.symbol > l.symbol ORDER BY t.symbol LIMIT 1)
          FROM symbols l WHERE l.symbol IS NOT NULL
      ) SELECT NULL::text AS provider, symbol FROM symbols WHERE symbol IS NOT NULL`,
  };
}
