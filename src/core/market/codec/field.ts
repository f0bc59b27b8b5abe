import { refuse, shown, type Refusal, type RefusalReason } from '../refusal.ts';

/** A timestamp of msgpack's own type, truncated to µs. */
export class MsgpackTime {
  readonly micros: bigint;

  constructor(micros: bigint) {
    this.micros = micros;
  }
}

/** JSON's number grammar: no + sign, comma, blanks, hex or `.5` */
const DECIMAL = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const SPELLED_OUT = /^[+-]?(?:nan|inf|infinity)$/i;
const WHOLE = /^(?:0|[1-9]\d{0,18})$/;
const INT64_MAX = 0x7fff_ffff_ffff_ffffn;

/** A finite number, given as a number or as decimal digits. −0 becomes 0, as stores and text do not keep them apart. */
export function finiteNumber(value: unknown, name: string, reason: RefusalReason): number | Refusal {
  if (typeof value === 'number') {
    return Number.isFinite(value) ? value + 0 : refuse('not_finite', `${name} is ${value}`);
  }
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'string') return refuse(reason, `${name} is ${shown(value)} and no number`);
  if (DECIMAL.test(value)) {
    const number = Number(value);
    return Number.isFinite(number)
      ? number + 0
      : refuse('not_finite', `${name} ${shown(value)} is beyond a double`);
  }
  const why = SPELLED_OUT.test(value) ? 'not_finite' : reason;
  return refuse(why, `${name} ${shown(value)} is no number in digits such as 113 or "113.25"`);
}

/** The same, and not below 0. */
export function amount(value: unknown, name: string, reason: RefusalReason): number | Refusal {
  const number = finiteNumber(value, name, reason);
  return typeof number === 'number' && number < 0 ? refuse(reason, `${name} ${number} is below 0`) : number;
}

/** null when it is absent. */
export function optionalNumber(value: unknown, name: string): number | null | Refusal {
  return value == null ? null : finiteNumber(value, name, 'bad_number');
}

export function optionalAmount(value: unknown, name: string): number | null | Refusal {
  return value == null ? null : amount(value, name, 'bad_size');
}

/** 0 … 2^63 − 1: a number up to 2^53 − 1, decimal digits, or a bigint. */
export function wholeNumber(value: unknown, name: string, reason: RefusalReason): bigint | Refusal {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
    const hint = value > Number.MAX_SAFE_INTEGER ? ': its digits are lost, send it as a string' : '';
    return refuse(reason, `${name} ${value} is no whole number from 0 on${hint}`);
  }
  const whole =
    typeof value === 'bigint' ? value : typeof value === 'string' && WHOLE.test(value) ? BigInt(value) : -1n;
  if (whole >= 0n && whole <= INT64_MAX) return whole;
  return refuse(reason, `${name} ${shown(value)} is no whole number from 0 to 2^63 - 1`);
}

const [FIRST_CHAR, LAST_CHAR, BAR] = [0x21, 0x7e, 0x7c];
export const PROVIDER_BYTES_MAX = 64;

/** 1-64 bytes of 0x21-0x7E without `|`. @param name of the field */
export function providerName(value: unknown, name = 'provider'): string | Refusal {
  if (value == null) return refuse('missing_provider', `no ${name}`);
  if (typeof value !== 'string') return refuse('bad_provider', `${name} is ${shown(value)} and no text`);
  if (value.length === 0 || value.length > PROVIDER_BYTES_MAX) {
    const problem = `has not 1 to ${PROVIDER_BYTES_MAX} characters`;
    return refuse('bad_provider', `${name} ${shown(value)} ${problem}`);
  }
  for (let at = 0; at < value.length; at += 1) {
    const char = value.charCodeAt(at);
    if (char < FIRST_CHAR || char > LAST_CHAR || char === BAR) {
      const problem = `has U+${char.toString(16).padStart(4, '0')} at ${at}; allowed is 0x21-0x7E without |`;
      return refuse('bad_provider', `${name} ${shown(value)} ${problem}`);
    }
  }
  return value;
}
