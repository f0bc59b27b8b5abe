import { test } from 'tap';
import type { LateWindow } from '../../../../src/core/window/step.ts';
import { LateWindows } from '../../../../src/stream/bars/late-windows.ts';

const late = (startUs: number, position: string | null, symbol = 'A'): LateWindow => ({
  provider: 'p',
  symbol,
  startUs,
  endUs: startUs + 1_000_000,
  position,
});
const all = (): boolean => true;

void test('the later of two marks of a window counts', (t) => {
  const windows = new LateWindows([late(0, '5')]);
  windows.add([late(0, '9'), late(1_000_000, '6'), late(0, '7', 'B')]);
  t.equal(windows.size, 3);
  t.strictSame(windows.due(all, 10), [late(0, '9'), late(1_000_000, '6'), late(0, '7', 'B')]);
  t.end();
});

void test('only what is due is handed out, and no more than asked for', (t) => {
  const windows = new LateWindows([late(0, '5'), late(1_000_000, null), late(2_000_000, '7')]);
  t.strictSame(
    windows.due(({ position }) => position === null, 10),
    [late(1_000_000, null)],
  );
  t.equal(windows.due(all, 2).length, 2);
  t.equal(windows.size, 3, 'they stay until they are done with');
  t.end();
});

void test('a window that was marked again meanwhile is not done with', (t) => {
  const windows = new LateWindows([late(0, '5'), late(1_000_000, '6')]);
  const due = windows.due(all, 10);
  windows.add([late(0, '5')]);
  windows.remove(due);
  t.strictSame(windows.due(all, 10), [late(0, '5')]);
  windows.remove(due);
  t.equal(windows.size, 1);
  t.end();
});
