import { test } from 'tap';
import { intervalName, parseInterval } from '../../../../src/core/market/interval.ts';

void test('an interval is named by the largest unit that divides it', (t) => {
  for (const [given, name] of [
    ['500ms', '500ms'],
    ['1500ms', '1500ms'],
    ['2000ms', '2s'],
    ['60s', '1m'],
    ['90s', '90s'],
    ['60m', '1h'],
    ['1440m', '1d'],
    ['366d', '366d'],
  ]) {
    const ms = parseInterval(given);
    t.equal(ms === null ? null : intervalName(ms), name, given);
  }
  t.end();
});

void test('what is none', (t) => {
  for (const text of [
    '',
    '0s',
    '1',
    's',
    '1S',
    '1.5s',
    '-1s',
    ' 1s',
    '1s ',
    '01s',
    '367d',
    '999999999999d',
    '1w',
    '1m30s',
  ]) {
    t.equal(parseInterval(text), null, text);
  }
  t.end();
});
