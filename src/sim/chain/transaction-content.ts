import { draw, fmix, type ContentOptions } from './content.ts';

/** Renders the transactions of content.ts to bytes. */
const OWNERS = 8;
const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const SIGNATURE_WORDS = 16;
const PUBLIC_KEY_WORDS = 8;
const UNDERSCORE = 95;
const USUAL_ID = Buffer.from('frm_order', 'latin1');
const HOSTILE_IDS = [
  Buffer.from('frm_z\u00e9ro_\u0437\u0430\u043a\u0430\u0437_\u{1f980}', 'utf8'),
  Buffer.from('frm\0order', 'latin1'),
  Buffer.from('frm_\xff\xc3_order', 'latin1'),
] as const;

interface Owner {
  address: string;
  publicKey: Buffer;
}

function makeOwners(seed: number): Owner[] {
  const state = fmix(seed);
  return Array.from({ length: OWNERS }, (_, owner) => {
    const digits = Array.from({ length: 44 }, (_, digit) => BASE58[draw(state, 64 * owner + digit) % 58]);
    const publicKey = Buffer.alloc(PUBLIC_KEY_WORDS * 4);
    for (let w = 0; w < PUBLIC_KEY_WORDS; w++) {
      publicKey.writeUInt32BE(draw(state, 65_536 + PUBLIC_KEY_WORDS * owner + w), 4 * w);
    }
    return { address: digits.join(''), publicKey };
  });
}

/** Numbers have a fixed number of digits, so that an order is a template with slots to fill in. */
interface OrderTemplate {
  bytes: Buffer;
  expiryAt: number;
  orderIdAt: number;
  priceAt: number;
  quantityAt: number;
  signatureAt: number;
  timestampMsAt: number;
}

function orderText(owner: string, side: string): string {
  return (
    'FRM_v1.0:{"intent":{"base_mint":"So11111111111111111111111111111111111111112","expiry":EEEEEEEEEE' +
    `,"order_id":IIIIIIIIII,"owner":"${owner}","price":PPPPPPPPPPPP,"quantity":QQQQQQQQQQQ` +
    `,"quote_mint":"EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v","side":"${side}"}` +
    `,"local_sequencer_id":"sim","signature":"${'S'.repeat(128)}","timestamp_ms":"TTTTTTTTTTTTT"` +
    ',"type":"order","version":"1.0"}'
  );
}

function makeTemplate(owner: string, side: string, payloadBytes: number): OrderTemplate {
  const text = orderText(owner, side);
  return {
    bytes: Buffer.from(text.padEnd(payloadBytes), 'latin1'),
    expiryAt: text.indexOf('EEEEEEEEEE'),
    orderIdAt: text.indexOf('IIIIIIIIII'),
    priceAt: text.indexOf('PPPPPPPPPPPP'),
    quantityAt: text.indexOf('QQQQQQQQQQQ'),
    signatureAt: text.indexOf('S'.repeat(128)),
    timestampMsAt: text.indexOf('TTTTTTTTTTTTT'),
  };
}

/** Orders need this many bytes; smaller payloads are opaque bytes. */
export const ORDER_BYTES = orderText('o'.repeat(44), 'Sell').length;

/**
 * Renders one transaction at a time, in the same memory, laid out as its hash reads it: tx_id ‖ payload ‖ signature ‖
 * public_key ‖ be64(nonce) ‖ be64(timestamp).
 */
export class TransactionContent {
  bytes: Buffer;
  idEnd = 0;
  payloadEnd = 0;
  signatureEnd = 0;
  publicKeyEnd = 0;
  end = 0;
  nonceHigh = 0;
  nonceLow = 0;
  timestampHigh = 0;
  timestampLow = 0;
  readonly #options: ContentOptions;
  readonly #owners: Owner[];
  /** by owner, Buy before Sell */
  readonly #templates: OrderTemplate[];

  constructor(options: ContentOptions, seed: number) {
    this.#options = options;
    this.bytes = Buffer.allocUnsafe(1024 + Math.max(options.payloadBytes, options.oversize?.bytes ?? 0));
    this.#owners = makeOwners(seed);
    this.#templates = this.#owners.flatMap(({ address }) =>
      ['Buy', 'Sell'].map((side) => makeTemplate(address, side, options.payloadBytes)),
    );
  }

  /**
   * @param state tickState of its tick
   * @param place k, counted from 0
   * @param micros the tick's timestamp
   * @param oversize whether this payload is the oversized one
   */
  fill(state: number, numberLow: number, place: number, micros: number, oversize: boolean): void {
    const lane = 64 * (place + 1);
    const options = this.#options;
    const orderId = 1_000_000_000 + (numberLow & 0xf_ffff) * 1024 + place;
    const clientMicros = micros - 1000 - (draw(state, lane + 4) % 3000);
    const party = draw(state, lane + 3);
    const owner = (party >>> 8) % OWNERS;
    const hostile = options.hostile ? draw(state, lane + 5) % 64 : 63;

    let at = this.#put(hostile < HOSTILE_IDS.length ? HOSTILE_IDS[hostile] : USUAL_ID, 0);
    this.bytes[at] = UNDERSCORE;
    putDigits(this.bytes, at + 1, 10, orderId);
    this.bytes[at + 11] = UNDERSCORE;
    putDigits(this.bytes, at + 12, 16, clientMicros);
    at += 28;
    this.idEnd = at;

    const kind = draw(state, lane) % 64;
    if (oversize) at = this.#opaque(at, options.oversize?.bytes ?? 0, draw(state, lane + 8));
    else if (kind === 1) at += 0;
    else if (kind === 2 || options.payloadBytes < ORDER_BYTES) {
      at = this.#opaque(at, options.payloadBytes, draw(state, lane + 8));
    } else if (kind === 0) at = this.#memo(at, draw(state, lane + 8));
    else
      at = this.#order(
        at,
        this.#templates[owner * 2 + (party & 1)],
        state,
        lane,
        numberLow,
        orderId,
        clientMicros,
      );
    this.payloadEnd = at;

    for (let w = 0; w < SIGNATURE_WORDS; w++) at = putWord(this.bytes, at, draw(state, lane + 16 + w));
    this.signatureEnd = at;
    at = this.#put(this.#owners[owner].publicKey, at);
    this.publicKeyEnd = at;

    const extreme = draw(state, lane + 6);
    this.nonceHigh = hostile === 4 ? 0xffff_ffff : 0;
    this.nonceLow = hostile === 4 ? extreme : orderId;
    this.timestampHigh = hostile === 3 ? 0xffff_ffff : Math.floor(clientMicros / 2 ** 32);
    this.timestampLow = hostile === 3 ? extreme : clientMicros % 2 ** 32;
    at = putWord(this.bytes, at, this.nonceHigh);
    at = putWord(this.bytes, at, this.nonceLow);
    at = putWord(this.bytes, at, this.timestampHigh);
    this.end = putWord(this.bytes, at, this.timestampLow);
  }

  #order(
    at: number,
    template: OrderTemplate,
    state: number,
    lane: number,
    numberLow: number,
    orderId: number,
    clientMicros: number,
  ): number {
    const end = this.#put(template.bytes, at);
    const cents =
      15_000 + (wave(numberLow, 20) >>> 10) + (wave(numberLow, 14) >>> 6) + (draw(state, lane + 1) % 17) - 8;
    const quantity = 10_000_000_000 + 10_000 * (draw(state, lane + 2) % 4_000_000);
    putDigits(this.bytes, at + template.expiryAt, 10, Math.floor(clientMicros / 1e6) + 3600);
    putDigits(this.bytes, at + template.orderIdAt, 10, orderId);
    putDigits(this.bytes, at + template.priceAt, 12, cents * 10_000_000);
    putDigits(this.bytes, at + template.quantityAt, 11, quantity);
    for (let w = 0; w < SIGNATURE_WORDS; w++) {
      putHexWord(this.bytes, at + template.signatureAt + 8 * w, draw(state, lane + 16 + w));
    }
    putDigits(this.bytes, at + template.timestampMsAt, 13, Math.floor(clientMicros / 1000));
    return end;
  }

  #memo(at: number, note: number): number {
    const text = `MEMO_v1.0:{"note":"${note.toString(16).padStart(8, '0')}"}`;
    return at + this.bytes.write(text.padEnd(this.#options.payloadBytes), at, 'latin1');
  }

  #opaque(at: number, byteLength: number, state: number): number {
    const end = at + byteLength;
    // Up to three bytes too many are written; the signature overwrites them.
    for (let word = 0, position = at; position < end; word++)
      position = putWord(this.bytes, position, draw(state, word));
    return end;
  }

  #put(source: Uint8Array, at: number): number {
    this.bytes.set(source, at);
    return at + source.length;
  }
}

function wave(numberLow: number, bits: number): number {
  return Math.abs((numberLow & (2 ** bits - 1)) - 2 ** (bits - 1));
}

function putWord(target: Uint8Array, at: number, word: number): number {
  target[at] = word >>> 24;
  target[at + 1] = word >>> 16;
  target[at + 2] = word >>> 8;
  target[at + 3] = word;
  return at + 4;
}

const HEX_DIGITS = Buffer.from('0123456789abcdef', 'latin1');

function putHexWord(target: Uint8Array, at: number, word: number): void {
  for (let digit = 0; digit < 8; digit++) target[at + digit] = HEX_DIGITS[(word >>> (28 - 4 * digit)) & 15];
}

/** `digits` decimal digits; the value has exactly as many. Below 2^53. */
function putDigits(target: Uint8Array, at: number, digits: number, value: number): void {
  // Two halves below 2^31 keep the divisions in integers.
  let high = Math.floor(value / 1e8);
  let low = value - high * 1e8;
  const split = Math.max(at, at + digits - 8);
  for (let position = at + digits - 1; position >= split; position--) {
    const rest = (low / 10) | 0;
    target[position] = 48 + low - rest * 10;
    low = rest;
  }
  for (let position = split - 1; position >= at; position--) {
    const rest = (high / 10) | 0;
    target[position] = 48 + high - rest * 10;
    high = rest;
  }
}
