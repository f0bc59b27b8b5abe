import { test } from 'tap';
import {
  NO_PROVIDERS,
  providersOf,
  rulesOf,
  symbolMistakes,
  symbolOf,
} from '../../../../../src/core/market/identity/providers.ts';
import { renamed } from '../../../../../src/core/market/identity/renamed.ts';
import { normalise } from '../../../../../src/core/market/normalise.ts';

const providers = providersOf({
  hyperliquid: { symbols: { kPEPE: '1000PEPE', 'brk b': 'BRK.B' }, case: 'refuse' },
  other: { symbols: { kPEPE: '1000PEPE' } },
  content: { identity: 'content' },
});
const mistakes = (symbols: Record<string, string>): string[] =>
  symbolMistakes(symbols).map(({ symbol, problem }) => `${symbol}: ${problem}`);
const stored = (provider: string, symbol: unknown): unknown => {
  const name = symbolOf(symbol, rulesOf(providers, provider));
  return typeof name === 'string' ? name : [name.reason, name.detail];
};

void test('without a declaration letters are upper-cased, which makes one of two instruments', async (t) => {
  t.equal(symbolOf('kPEPE', rulesOf(NO_PROVIDERS, 'hyperliquid')), 'KPEPE');
  t.equal(stored('content', 'kPEPE'), 'KPEPE');
  t.equal(stored('__proto__', 'kPEPE'), 'KPEPE');
});

void test('a map names a symbol by exactly what was sent', async (t) => {
  t.equal(stored('other', 'kPEPE'), '1000PEPE');
  t.equal(stored('other', 'KPEPE'), 'KPEPE');
  t.equal(stored('other', 'kpepe'), 'KPEPE');
  t.equal(stored('other', '1000PEPE'), '1000PEPE');
  t.equal(stored('other', 'constructor'), 'CONSTRUCTOR');
});

void test('case: refuse names the symbol that it does not take', async (t) => {
  t.equal(stored('hyperliquid', 'kPEPE'), '1000PEPE');
  t.equal(stored('hyperliquid', 'brk b'), 'BRK.B');
  t.equal(stored('hyperliquid', 'KPEPE'), 'KPEPE');
  t.equal(stored('hyperliquid', '币ä'), '币ä', 'only a-z are upper-cased, so only they are refused');
  t.strictSame(stored('hyperliquid', 'kBONK'), [
    'bad_symbol',
    'symbol "kBONK" has lower-case letters and its provider is declared case: refuse; map it under symbols',
  ]);
  t.match(stored('hyperliquid', `k${'A'.repeat(127)}`), ['bad_symbol', `symbol "k${'A'.repeat(127)}"`]);
  t.match(stored('hyperliquid', null), ['missing_symbol']);
  t.match(stored('hyperliquid', 7), ['bad_symbol']);
});

void test('a map that leads on, or to what cannot be stored, is refused', async (t) => {
  t.strictSame(mistakes({ kPEPE: '1000PEPE', PEPE: '1000PEPE', META: 'META' }), []);
  t.strictSame(mistakes({ A: 'B', B: 'A' }), [
    'A: A is mapped to B, and that to A',
    'B: B is mapped to A, and that to B',
  ]);
  t.strictSame(mistakes({ A: 'b' }), ['A: A is mapped to b, which is not in upper case']);
  t.strictSame(mistakes({ A: ' ' }), ['A: symbol " " begins or ends with a blank']);
  t.strictSame(mistakes({ '': 'A' }), [': symbol "" has not 1 to 128 bytes']);
  t.throws(() => providersOf({ p: { symbols: { A: 'b' } } }), /^providers\.p\.symbols: A is mapped to b/);
});

void test('an event of our own producers goes out under its name, once and for all', async (t) => {
  const event = normalise({
    provider: 'hyperliquid',
    symbol: 'KPEPE',
    kind: 'bar',
    interval: '1m',
    src_ts: '2025-10-24T14:02:00Z',
    o: 1,
    h: 1,
    l: 1,
    c: 1,
    v: 1,
    seq: 7,
  });
  if (event.kind === 'refused') throw new Error(event.detail);
  t.equal(renamed(event, providers), event);
  const sent = { ...event, symbol: 'kPEPE', eventId: event.eventId.replace('KPEPE', 'kPEPE') };
  const named = renamed(sent, providers);
  t.equal(named.symbol, '1000PEPE');
  t.equal(named.eventId, 'hyperliquid|1000PEPE|2025-10-24T14:02:00.000000Z|7|1m');
  t.equal(renamed(named, providers), named);
  const refused = { ...sent, symbol: 'kBONK' };
  t.equal(renamed(refused, providers), refused, 'its consumer says why');
});
