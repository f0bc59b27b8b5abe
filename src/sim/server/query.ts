import { setTimeout as delay } from 'node:timers/promises';
import { decodeTick } from '../../core/chain/decode.ts';
import { WireWriter } from '../../core/chain/encode.ts';
import type { Chain } from '../chain/chain.ts';
import type { GetFault } from '../fault.ts';
import type { FaultPlan } from '../fault-plan.ts';
import { falsifyTick, malformTick } from '../chain/faulty-tick.ts';

/** The answers to the calls with one answer, as protobuf messages of proto/continuum.proto. */

const RECENT_TICKS_DEFAULT = 10;
const RECENT_TICKS_MAX = 1000;

/** Which of GetTick's faults hits this call; counts the calls, for faults that end after some of them. */
export class GetFaults {
  readonly #plan: FaultPlan;
  readonly #calls = new Map<bigint, number>();

  constructor(plan: FaultPlan) {
    this.#plan = plan;
  }

  async hit(number: bigint): Promise<GetFault['kind'] | null> {
    const { faults, slowMs } = this.#plan.get;
    if (slowMs > 0) await delay(slowMs);
    const concerned = faults.filter(({ every }) => number % every === 0n);
    if (concerned.length === 0) return null;
    const calls = (this.#calls.get(number) ?? 0) + 1;
    this.#calls.set(number, calls);
    return concerned.find(({ times }) => calls <= times)?.kind ?? null;
  }
}

/**
 * GetTickResponse; of the faults only `malformed-forever` and `untrue` change its tick.
 * @param isBad a bad copy is wanted
 */
export async function getTick(
  chain: Chain,
  plan: FaultPlan,
  number: bigint,
  isBad: boolean,
): Promise<{ found: boolean; message: Uint8Array }> {
  const index = chain.source.indexOf(number);
  const found = index >= chain.oldest() && index < chain.count() && !plan.lost(number);
  const writer = new WireWriter();
  if (found) {
    const stored = (await chain.chunkOf(index)).message(index);
    const untrue = plan.at(number, number)?.untrue ?? null;
    const tick = untrue === null ? stored : falsifyTick(stored, untrue);
    const form = isBad ? 'nul' : plan.malformedForever(number);
    writer.embedded(1, form === null ? tick : malformTick(tick, form));
  }
  writer.bool(2, found);
  return { found, message: writer.finish() };
}

/** GetTickResponse of a tick that is not there. */
export function notFound(): { found: boolean; message: Uint8Array } {
  const writer = new WireWriter();
  writer.bool(2, false);
  return { found: false, message: writer.finish() };
}

export interface Uptime {
  seconds: number;
  /** transactions that there were at the start */
  transactionsAtStart: bigint;
}

/** GetStatusResponse; current_tick is 0 while there is no tick. */
export function getStatus(chain: Chain, uptime: Uptime): Uint8Array {
  const count = chain.count();
  const transactions = chain.source.transactionsBefore(count, chain.branch);
  const since = Number(transactions - uptime.transactionsAtStart);
  const writer = new WireWriter();
  writer.uint64(1, headNumber(chain, count));
  writer.uint64(2, transactions);
  writer.uint64(4, BigInt(Math.floor(uptime.seconds)));
  writer.double(5, uptime.seconds > 0 && since > 0 ? since / uptime.seconds : 0);
  return writer.finish();
}

/** GetChainStateResponse; the oldest of the recent ticks first, and where their transactions are. */
export async function getChainState(chain: Chain, tickLimit: bigint): Promise<Uint8Array> {
  const count = chain.count();
  const limit = tickLimit === 0n ? RECENT_TICKS_DEFAULT : Number(tickLimit);
  const recent: Uint8Array[] = [];
  for (
    let index = Math.max(chain.oldest(), count - Math.min(limit, RECENT_TICKS_MAX));
    index < count;
    index++
  ) {
    recent.push((await chain.chunkOf(index)).message(index));
  }
  const writer = new WireWriter();
  writer.uint64(1, headNumber(chain, count));
  writer.uint64(2, chain.source.transactionsBefore(count, chain.branch));
  for (const message of recent) writer.embedded(3, message);
  for (const tick of recent.map(decodeTick)) {
    for (const { txHash } of tick.transactions) {
      writer.message(4, () => {
        writer.string(1, txHash);
        writer.uint64(2, tick.tickNumber);
      });
    }
  }
  return writer.finish();
}

function headNumber(chain: Chain, count: number): bigint {
  return count === 0 ? 0n : chain.source.numberAt(count - 1);
}
