import type { Chain } from '../chain/chain.ts';
import type { Chunk } from '../source/chunk.ts';
import type { EventLog } from '../event-log.ts';
import type { FaultPlan, TickFaults } from '../fault-plan.ts';
import { REWRITE_BACK } from '../fault.ts';
import { falsifyTick, malformTick, rewriteTick } from '../chain/faulty-tick.ts';
import { STATUS, type Call, type StatusCode } from './grpc-server.ts';
import { grpcFrame } from '../source/replay.ts';
import type { StallGate } from './stall-gate.ts';

/** Chunks made ahead of a stream, while it waits for its client. */
const PREFETCH_CHUNKS = 4;

export interface Sequencer {
  chain: Chain;
  plan: FaultPlan;
  stalls: StallGate;
  /** first and one past the last index at the moment of the fork; null without one */
  fork: { at: number; from: number; count: number } | null;
  log: EventLog;
}

type Ending = { code: StatusCode; text: string };

/**
 * One StreamTicks call: ticks from `start` on as fast as the client reads, then as they are made. A stream has at most
 * one write in flight, of one chunk. Where a fault hits, ticks are sent one by one.
 */
export class TickStream {
  readonly #sequencer: Sequencer;
  readonly #call: Call;
  readonly #id: number;
  #branch: 0 | 1;
  #start = 0n;
  #sent = 0;
  #firstSent: bigint | null = null;
  #lastSent: bigint | null = null;

  constructor(sequencer: Sequencer, call: Call, id: number) {
    this.#sequencer = sequencer;
    this.#call = call;
    this.#id = id;
    this.#branch = sequencer.chain.branch;
  }

  /** @param start number of the first tick wanted, 0 = the latest */
  async run(start: bigint): Promise<void> {
    const { log } = this.#sequencer;
    log.write('stream', { id: this.#id, peer: this.#call.peer, start_tick: start });
    const ending = await this.#serve(start);
    const status =
      ending === null ? (this.#call.closed ? 'CANCELLED' : 'UNAVAILABLE') : statusName(ending.code);
    if (ending !== null) this.#call.end(ending.code, ending.text);
    log.write('end', {
      id: this.#id,
      sent: this.#sent,
      first: this.#firstSent,
      last: this.#lastSent,
      status,
    });
  }

  /** null = the call is over already */
  async #serve(start: bigint): Promise<Ending | null> {
    const { chain, plan, fork } = this.#sequencer;
    if (start !== 0n && start < chain.source.numberAt(chain.oldest())) return this.#tooOld(start);
    let index = start === 0n ? Math.max(0, chain.count() - 1) : chain.source.indexFrom(start);
    this.#start = start === 0n ? chain.source.numberAt(index) : start;
    while (!this.#call.over) {
      if (this.#branch !== chain.branch) {
        this.#branch = chain.branch;
        index = Math.min(index, fork?.from ?? index);
      }
      if (index >= chain.count()) {
        await chain.grown(index, this.#call);
        continue;
      }
      if (index < chain.oldest()) return this.#tooOld(chain.source.numberAt(index));
      if (this.#forks(index)) continue;
      if (await this.#stalled(index)) continue;
      index = await this.#send(index);
      if (this.#sent >= plan.cutEvery) {
        this.#fault('cut', this.#lastSent);
        return { code: STATUS.UNAVAILABLE, text: `cut after ${this.#sent} ticks` };
      }
    }
    return null;
  }

  #tooOld(number: bigint): Ending {
    const { chain } = this.#sequencer;
    const oldest = chain.source.numberAt(chain.oldest());
    return { code: STATUS.OUT_OF_RANGE, text: `tick ${number} is no longer served; the oldest is ${oldest}` };
  }

  #forks(index: number): boolean {
    const { chain, fork } = this.#sequencer;
    if (fork === null || chain.branch === 1 || index < fork.at) return false;
    this.#fault('fork', chain.source.numberAt(index), { from: chain.source.numberAt(fork.from) });
    chain.fork(fork.count);
    return true;
  }

  async #stalled(index: number): Promise<boolean> {
    const { chain, stalls } = this.#sequencer;
    const stall = stalls.enter(index);
    if (stall === null) return false;
    this.#fault(stall.kind, chain.source.numberAt(index), { ms: stall.ms });
    await new Promise<void>((resolve) => {
      const stopListening = this.#call.onClose(resolve);
      const settle = (): void => {
        stopListening();
        resolve();
      };
      setTimeout(settle, stall.ms).unref();
    });
    return this.#call.over;
  }

  /** Sends what there is from `index` on, up to the end of its chunk; returns the next index to send. */
  async #send(index: number): Promise<number> {
    const { chain, plan, fork, stalls } = this.#sequencer;
    const chunk = await chain.chunkOf(index);
    if (chain.branch !== this.#branch || this.#call.over) return index;
    this.#prefetch(chunk);
    const forkAt = fork === null || chain.branch === 1 ? Infinity : fork.at;
    const to = Math.min(
      chunk.end,
      chain.count(),
      stalls.nextAfter(index),
      forkAt,
      index + (plan.cutEvery - this.#sent),
    );
    if (plan.hitsTicks) return this.#sendFaulty(chunk, index, to);
    this.#count(chain.source.numberAt(index), chain.source.numberAt(to - 1), to - index);
    await this.#call.write(chunk.frames(index, to));
    return to;
  }

  #prefetch(chunk: Chunk): void {
    const { source } = this.#sequencer.chain;
    const last = Math.ceil(this.#sequencer.chain.finalCount() / source.chunkTicks) - 1;
    const next = chunk.end / source.chunkTicks;
    for (let c = next; c < next + PREFETCH_CHUNKS && c <= last; c++) source.prefetch(this.#branch, c);
  }

  async #sendFaulty(chunk: Chunk, from: number, to: number): Promise<number> {
    const { chain, plan } = this.#sequencer;
    const { source } = chain;
    const pieces: Uint8Array[] = [];
    let index = from;
    let plainFrom = from;
    const takePlain = (): void => {
      if (index === plainFrom) return;
      this.#count(source.numberAt(plainFrom), source.numberAt(index - 1), index - plainFrom);
      pieces.push(chunk.frames(plainFrom, index));
    };
    while (index < to) {
      const hit = plan.at(source.numberAt(index), this.#start);
      if (hit === null) {
        index += 1;
        continue;
      }
      takePlain();
      plainFrom = index;
      let taken = 1;
      if (hit.swap && index + 1 < chain.finalCount()) {
        if (index + 1 >= chain.count()) break; // it has to wait for the one it is swapped with
        this.#fault('swap', source.numberAt(index));
        pieces.push(...(await this.#framesOf(index + 1, plan.at(source.numberAt(index + 1), this.#start))));
        taken = 2;
      }
      pieces.push(...(await this.#framesOf(index, hit)));
      index += taken;
      plainFrom = index;
      if (this.#sent >= plan.cutEvery) break;
    }
    takePlain();
    if (pieces.length > 0) await this.#call.write(Buffer.concat(pieces));
    if (index === from) await chain.grown(index + 1, this.#call);
    return index;
  }

  /** What the stream sends in place of one tick. */
  async #framesOf(index: number, hit: TickFaults | null): Promise<Uint8Array[]> {
    const { chain } = this.#sequencer;
    const number = chain.source.numberAt(index);
    if (hit !== null && hit.gap !== null) {
      this.#fault(hit.gap, number);
      return [];
    }
    const chunk = await chain.chunkOf(index);
    let frame = chunk.frames(index, index + 1);
    if (hit !== null && hit.untrue !== null) {
      this.#fault('untrue', number, { form: hit.untrue });
      frame = grpcFrame(falsifyTick(chunk.message(index), hit.untrue));
    }
    if (hit !== null && hit.malformed !== null) {
      this.#fault('malformed', number, { form: hit.malformed });
      frame = grpcFrame(malformTick(chunk.message(index), hit.malformed));
    }
    const frames = [frame];
    if (hit !== null && hit.copyBefore !== null) {
      this.#fault('copy-before', number, { form: hit.copyBefore });
      frames.unshift(grpcFrame(malformTick(chunk.message(index), hit.copyBefore)));
    }
    if (hit !== null && hit.copyAfter !== null) {
      this.#fault('copy-after', number, { form: hit.copyAfter });
      frames.push(grpcFrame(malformTick(chunk.message(index), hit.copyAfter)));
    }
    if (hit?.duplicate === true) {
      this.#fault('duplicate', number);
      frames.push(frame);
    }
    const old = hit?.rewrite === true ? chain.source.indexOf(number - REWRITE_BACK) : -1;
    if (old >= 0) {
      this.#fault('rewrite', number, { old: number - REWRITE_BACK });
      frames.push(grpcFrame(rewriteTick((await chain.chunkOf(old)).message(old))));
    }
    const late = hit?.late == null ? -1 : chain.source.indexOf(hit.late);
    if (late >= 0) frames.push((await chain.chunkOf(late)).frames(late, late + 1));
    this.#count(number, number, frames.length);
    return frames;
  }

  #count(first: bigint, last: bigint, ticks: number): void {
    this.#firstSent ??= first;
    this.#lastSent = last;
    this.#sent += ticks;
  }

  #fault(
    kind: string,
    tick: bigint | null,
    more: Readonly<Record<string, bigint | number | string>> = {},
  ): void {
    this.#sequencer.log.write('fault', { id: this.#id, kind, tick, ...more });
  }
}

function statusName(code: StatusCode): string {
  return Object.entries(STATUS).find(([, value]) => value === code)?.[0] ?? `${code}`;
}
