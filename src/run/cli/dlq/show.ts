import { open } from 'node:fs/promises';
import type { Client } from 'pg';
import { decodeTick } from '../../../core/chain/decode.ts';
import { WireError } from '../../../core/chain/wire-error.ts';
import { differingFields, tickDigest } from '../../../core/chain/digest.ts';
import { formatTick } from '../../../core/chain/tick-json.ts';
import { INT64_MAX, type OrderedTransaction, type Tick } from '../../../core/chain/tick.ts';
import { readDeadLetter, type DeadLetterRecord } from '../../../store/chain/dead-letters.ts';
import { readStoredTicks } from '../../../store/chain/stored-ticks.ts';
import { deadLetterJson, placeText } from './dead-letter.ts';
import { printable, type Print, tableLines } from '../text.ts';

export interface ShowArguments {
  raw?: string;
  json?: true;
}

interface Shown {
  deadLetter: DeadLetterRecord;
  /** what the frame says, or where it stops making sense */
  frame: Tick | string;
  /** the stored tick of the frame's number */
  stored: Tick | null;
  differs: string[];
}

const HEX_BYTES_SHOWN = 256;
const HEX_BYTES_A_LINE = 16;
/** a longer text in the decoded tick is cut; --json has it in full */
const VALUE_CHARS = 100;
const CELL_CHARS = 40;

/** `mdp dlq show`. Returns why it failed, or null. */
export async function runShow(
  client: Client,
  id: bigint,
  options: ShowArguments,
  print: Print,
): Promise<string | null> {
  const deadLetter = await readDeadLetter(client, id);
  if (deadLetter === null)
    return `there is no dead letter ${id}. "mdp dlq list --status all" shows which there are`;
  if (await putRaw(options.raw, deadLetter.raw)) return null;
  const shown = await examine(client, deadLetter);
  if (options.json === true) print(JSON.stringify(showJson(shown)));
  else for (const line of showLines(shown)) print(line);
  if (options.raw !== undefined && options.json !== true)
    print(`${deadLetter.bytes} bytes written to ${options.raw}`);
  return null;
}

/** Writes the bytes where --raw says; true: that was stdout, and nothing else goes there. */
export async function putRaw(path: string | undefined, raw: Uint8Array): Promise<boolean> {
  if (path === '-') {
    await new Promise<void>((resolve) => {
      process.stdout.write(raw, () => resolve());
    });
    return true;
  }
  if (path !== undefined) await writeBytes(path, raw);
  return false;
}

/** Readable by the owner alone: a frame may hold what clients sent. */
async function writeBytes(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(bytes);
  } finally {
    await file.close();
  }
}

async function examine(client: Client, deadLetter: DeadLetterRecord): Promise<Shown> {
  let frame: Tick | string;
  try {
    frame = decodeTick(deadLetter.raw);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    frame = error.message;
  }
  const number = typeof frame === 'string' ? BigInt(deadLetter.tick ?? -1) : frame.tickNumber;
  if (number < 0n || number > INT64_MAX) return { deadLetter, frame, stored: null, differs: [] };
  const stored = (await readStoredTicks(client, [number])).get(number) ?? null;
  const differs = stored === null || typeof frame === 'string' ? [] : differingFields(stored, frame);
  return { deadLetter, frame, stored, differs };
}

// --- JSON ---

function showJson({ deadLetter, frame, stored, differs }: Shown): Record<string, unknown> {
  const isDecoded = typeof frame !== 'string';
  return {
    ...deadLetterJson(deadLetter),
    epoch: deadLetter.epoch,
    raw_sha256: deadLetter.rawDigest.toString('hex'),
    stored_sha256: deadLetter.storedDigest?.toString('hex') ?? null,
    frame: isDecoded ? tickShape(frame) : null,
    frame_digest: isDecoded ? tickDigest(frame).toString('hex') : null,
    frame_error: isDecoded ? null : frame,
    stored: stored === null ? null : tickShape(stored),
    stored_digest: stored === null ? null : tickDigest(stored).toString('hex'),
    differs,
  };
}

function tickShape(tick: Tick): unknown {
  return JSON.parse(formatTick(tick, 'compact'));
}

// --- text ---

function showLines(shown: Shown): string[] {
  const { deadLetter, frame, stored } = shown;
  const isDecoded = typeof frame !== 'string';
  const facts: [string, string][] = [
    ['source', 'chain'],
    ['tick', placeText(deadLetter)],
    ['reason', deadLetter.reason],
    ['detail', deadLetter.detail ?? ''],
    ['sqlstate', deadLetter.sqlstate ?? ''],
    [
      'status',
      deadLetter.resolvedAt === null ? deadLetter.status : `${deadLetter.status} at ${deadLetter.resolvedAt}`,
    ],
    ['created', deadLetter.createdAt],
    ['epoch', deadLetter.epoch ?? ''],
    ['bytes', `${deadLetter.bytes}`],
    ['sha256', deadLetter.rawDigest.toString('hex')],
  ];
  if (deadLetter.storedDigest !== null || stored !== null) facts.push(...digestFacts(shown));
  const width = Math.max(...facts.map(([name]) => name.length));
  return [
    `dead letter ${deadLetter.id}`,
    ...facts
      .filter(([, value]) => value !== '')
      .map(([name, value]) => `  ${name.padEnd(width)}  ${printable(value)}`),
    ...comparisonLines(shown),
    '',
    ...(isDecoded ? decodedLines(frame) : undecodedLines(frame, deadLetter.raw)),
  ];
}

/** Of the canonical bytes of a tick, so that two are equal exactly when the ticks are. */
function digestFacts({ deadLetter, frame, stored }: Shown): [string, string][] {
  return [
    [
      'digest of the frame',
      typeof frame === 'string' ? 'none: it does not decode' : tickDigest(frame).toString('hex'),
    ],
    ['digest stored then', deadLetter.storedDigest?.toString('hex') ?? ''],
    [
      'digest stored now',
      stored === null ? 'none: no tick of this number is stored' : tickDigest(stored).toString('hex'),
    ],
  ];
}

function comparisonLines({ frame, stored, differs }: Shown): string[] {
  if (typeof frame === 'string' || stored === null) return [];
  if (differs.length === 0) return ['', `The frame says what is stored as tick ${stored.tickNumber}.`];
  const rows = differs.map((name) => {
    const [a, b] = [fieldText(frame, name), fieldText(stored, name)];
    const at = firstDifference(a, b);
    return [name, excerpt(a, at), excerpt(b, at)];
  });
  const columns = ['field', 'frame', 'stored'].map((title) => ({ title, align: 'left' as const }));
  return ['', ...tableLines(columns, rows)];
}

function decodedLines(tick: Tick): string[] {
  const text = JSON.stringify(
    tickShape(tick),
    (_, value: unknown) => (typeof value === 'string' ? cut(value) : value),
    2,
  );
  return ['The frame as a tick (bytes in base64):', ...text.split('\n')];
}

function cut(text: string): string {
  const shown = printable(text);
  return shown.length <= VALUE_CHARS ? shown : `${shown.slice(0, VALUE_CHARS)}… (${text.length} characters)`;
}

function undecodedLines(why: string, raw: Buffer): string[] {
  if (raw.length === 0) return ['The frame has no bytes.'];
  const lines = [`The frame does not decode: ${why}.`];
  const shown = raw.subarray(0, HEX_BYTES_SHOWN);
  for (let at = 0; at < shown.length; at += HEX_BYTES_A_LINE) {
    const bytes = [...shown.subarray(at, at + HEX_BYTES_A_LINE)];
    const hex = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = bytes
      .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'))
      .join('');
    lines.push(`${at.toString(16).padStart(8, '0')}  ${hex.padEnd(HEX_BYTES_A_LINE * 3 - 1)}  ${text}`);
  }
  if (raw.length > shown.length)
    lines.push(`… ${raw.length - shown.length} bytes more (--raw FILE writes all)`);
  return lines;
}

// --- a field of a tick, by the names of differingFields ---

function fieldText(tick: Tick, name: string): string {
  const place = /^transactions\[(\d+)\]\.(\w+)$/.exec(name);
  if (place !== null) {
    const ordered = tick.transactions.toSorted((a, b) => (a.sequenceNumber < b.sequenceNumber ? -1 : 1));
    return transactionFieldText(ordered[Number(place[1])], place[2] ?? '');
  }
  const { vdfProof } = tick;
  const fields: Readonly<Record<string, unknown>> = {
    tick_number: tick.tickNumber,
    timestamp: tick.timestamp,
    transaction_batch_hash: tick.transactionBatchHash,
    previous_output: tick.previousOutput,
    'vdf_proof.input': vdfProof.input,
    'vdf_proof.output': vdfProof.output,
    'vdf_proof.proof': vdfProof.proof,
    'vdf_proof.iterations': vdfProof.iterations,
    transactions: `${tick.transactions.length} of them`,
  };
  return valueText(fields[name]);
}

function transactionFieldText(ordered: OrderedTransaction | undefined, name: string): string {
  if (ordered === undefined) return '';
  const { transaction } = ordered;
  const fields: Readonly<Record<string, unknown>> = {
    sequence_number: ordered.sequenceNumber,
    tx_hash: ordered.txHash,
    ingestion_timestamp: ordered.ingestionTimestamp,
    tx_id: transaction.txId,
    payload: transaction.payload,
    signature: transaction.signature,
    public_key: transaction.publicKey,
    nonce: transaction.nonce,
    timestamp: transaction.timestamp,
  };
  return valueText(fields[name]);
}

function valueText(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value === '' ? '(empty)' : printable(String(value));
}

function firstDifference(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return at;
}

/** What is around the first difference of a long value. */
function excerpt(text: string, at: number): string {
  if (text.length <= CELL_CHARS) return text;
  const from = Math.max(0, Math.min(at - 8, text.length - CELL_CHARS));
  const to = from + CELL_CHARS;
  return `${from > 0 ? '…' : ''}${text.slice(from, to)}${to < text.length ? '…' : ''}`;
}
