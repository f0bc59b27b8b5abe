import { threadId, workerData } from 'node:worker_threads';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { BatchParser, type ParseTask } from './parse.ts';
import { threadStats } from './thread-stats.ts';
import { Ring, type RingGeometry } from './ring.ts';

/** workerData of a parser thread. */
export interface ParserSetup {
  geometry: RingGeometry;
  memory: SharedArrayBuffer;
}

const { geometry, memory } = workerData as ParserSetup;
const parser = new BatchParser(new Ring(geometry, memory));
const delay = monitorEventLoopDelay();
delay.enable();

/** The pool's task: COPY bytes travel by transfer. */
export default function parse(task: ParseTask): unknown {
  const parsed = parser.parse(task);
  const value = { parsed, stats: threadStats(delay), threadId };
  const { ticks, proofs, transactions } = parsed.copy;
  return move({
    get [transferableSymbol]() {
      return [ticks.buffer, proofs.buffer, transactions.buffer];
    },
    get [valueSymbol]() {
      return value;
    },
  });
}
