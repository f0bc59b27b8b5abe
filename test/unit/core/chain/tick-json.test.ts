import { readFileSync } from 'node:fs';
import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { formatTick, parseTickJson, TickJsonError } from '../../../../src/core/chain/tick-json.ts';
import { anyTick, plainTick } from './protobufjs.ts';
import { realTicks } from '../../../support/chain/content/real-ticks.ts';

const { skip } = realTicks;

void test('the real ticks come out as they went in, fields in the same order', { skip }, async (t) => {
  for (const line of readFileSync(realTicks.path, 'utf8').trim().split('\n')) {
    const tick = parseTickJson(line);
    // JSON.stringify of what JSON.parse gave keeps the file's order and drops its blanks
    t.equal(formatTick(tick, 'compact'), JSON.stringify(JSON.parse(line)));
    t.equal(formatTick(tick, 'json'), JSON.stringify(JSON.parse(line), null, 2));
  }
});

void test('compact is one line with every field, json the same indented', async (t) => {
  const none = new Uint8Array(0);
  const transaction = {
    txId: none,
    payload: none,
    signature: none,
    publicKey: none,
    nonce: 0n,
    timestamp: 0n,
  };
  const empty = {
    tickNumber: 0n,
    vdfProof: { input: '', output: '', proof: '', iterations: 0n },
    transactions: [{ transaction, sequenceNumber: 0n, txHash: '', ingestionTimestamp: 0n }],
    transactionBatchHash: '',
    timestamp: 0n,
    previousOutput: '',
  };
  const expected =
    '{"tick_number":"0","timestamp":"0","previous_output":"","transaction_batch_hash":"",' +
    '"vdf_proof":{"input":"","output":"","proof":"","iterations":"0"},' +
    '"transactions":[{"sequence_number":"0","tx_hash":"","ingestion_timestamp":"0",' +
    '"transaction":{"tx_id":"","payload":"","signature":"","public_key":"","nonce":"0","timestamp":"0"}}]}';
  t.equal(formatTick(empty, 'compact'), expected);
  t.equal(formatTick(empty, 'json'), JSON.stringify(JSON.parse(expected), null, 2));
  t.strictSame(plainTick(parseTickJson(expected)), plainTick(empty));
  t.strictSame(plainTick(parseTickJson('{"transactions":[{}]}')), plainTick(empty), 'absent is default');
  t.strictSame(
    plainTick(parseTickJson('{"vdf_proof":null,"timestamp":null,"transactions":[{}]}')),
    plainTick(empty),
  );
});

void test('both forms are read back, whatever stands in a tick', async (t) => {
  fc.assert(
    fc.property(
      anyTick,
      fc.constantFrom('json', 'compact'),
      fc.string({ unit: 'binary' }),
      (tick, format, id) => {
        for (const { transaction } of tick.transactions)
          transaction.txId = Buffer.from(id.toWellFormed(), 'utf8');
        const text = formatTick(tick, format);
        deepStrictEqual(text.includes('\n'), format === 'json');
        deepStrictEqual(plainTick(parseTickJson(text)), plainTick(tick));
      },
    ),
  );
  t.pass('held');
});

void test('a tx_id that is no UTF-8 shows U+FFFD', async (t) => {
  const tick = parseTickJson('{"transactions":[{"transaction":{"tx_id":"a"}}]}');
  tick.transactions[0].transaction.txId = Uint8Array.of(0x61, 0xff, 0x62);
  t.match(formatTick(tick, 'compact'), '"tx_id":"a\ufffdb"');
});

void test('what proto3-JSON allows besides: camelCase, numbers, the other base64 alphabet, no padding', async (t) => {
  const tick = parseTickJson(
    '{"tickNumber":5,"vdfProof":{"iterations":9007199254740991},' +
      '"transactions":[{"transaction":{"publicKey":"-_8","payload":"+/8="}}]}',
  );
  t.equal(tick.tickNumber, 5n);
  t.equal(tick.vdfProof.iterations, 9_007_199_254_740_991n);
  t.strictSame([...tick.transactions[0].transaction.publicKey], [0xfb, 0xff]);
  t.strictSame([...tick.transactions[0].transaction.payload], [0xfb, 0xff]);
});

void test('mistakes are named with their place', async (t) => {
  const mistakes: [string, string, RegExp][] = [
    ['{"tick_number":', '', /not JSON: /],
    ['{"a":1,}', '', /position 7|position 8/],
    ['[]', '', /^\[\] where an object is expected/],
    ['null', '', /^null where/],
    ['{"tick_number":"-1"}', 'tick_number', /^tick_number: "-1" where a u64/],
    ['{"tick_number":"18446744073709551616"}', 'tick_number', /u64/],
    ['{"tick_number":9007199254740992}', 'tick_number', /u64 is expected, as a string/],
    ['{"tick_number":1.5}', 'tick_number', /1\.5 where/],
    ['{"tick_number":"007"}', 'tick_number', /"007"/],
    ['{"timestamp":true}', 'timestamp', /true where/],
    ['{"previous_output":5}', 'previous_output', /5 where a string/],
    ['{"vdf_proof":[]}', 'vdf_proof', /\[\] where an object/],
    ['{"vdf_proof":{"x":1}}', 'vdf_proof.x', /does not have/],
    ['{"transactions":{}}', 'transactions', /\{\} where an array/],
    ['{"transactions":[{},{"transaction":{"nonce":"x"}}]}', 'transactions[1].transaction.nonce', /"x" where/],
    ['{"transactions":[{"transaction":{"payload":"a"}}]}', 'transactions[0].transaction.payload', /base64/],
    [
      '{"transactions":[{"transaction":{"payload":"ab==cd=="}}]}',
      'transactions[0].transaction.payload',
      /base64/,
    ],
    ['{"ticknumber":"1"}', 'ticknumber', /does not have/],
    [`{"timestamp":"${'9'.repeat(100)}"}`, 'timestamp', /9{39}… where/],
  ];
  for (const [text, path, message] of mistakes) {
    t.throws(() => parseTickJson(text), { name: 'TickJsonError', path, message }, text);
  }
  t.throws(() => parseTickJson(''), TickJsonError);
});
