import { test } from 'tap';
import { SymbolLabels } from '../../../src/stream/meter.ts';

void test('the first 200 symbols have labels of their own, the others share one', (t) => {
  const labels = new SymbolLabels();
  for (let at = 0; at < 200; at += 1) t.equal(labels.of(`S${at}`), `S${at}`);
  t.equal(labels.of('S200'), '_other');
  t.equal(labels.of('S201'), '_other');
  t.equal(labels.of('S0'), 'S0');
  t.equal(labels.of('S199'), 'S199');
  t.end();
});
