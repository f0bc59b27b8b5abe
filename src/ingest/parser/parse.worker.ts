import { threadId, workerData } from 'node:worker_threads';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { BatchParser, type ParseTask } from './parse.ts';
import { threadStats } from '../thread-stats.ts';
import { Ring, type RingGeometry } from '../ring.ts';

/** workerData of a parser thread. */
export interface ParserSetup {
  geometry: RingGeometry;
  memory: SharedArrayBuffer;
}

const { geometry, memory } = workerData as ParserSetup;
const parser = new BatchParser(new Ring(geometry, memory));
const delay = monitorEventLoopDelay();
delay.enable();

/** The pool's task. */
export default function parse(task: ParseTask): unknown {
  return { parsed: parser.parse(task), stats: threadStats(delay), threadId };
}
