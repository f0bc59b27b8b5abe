import { parentPort, workerData } from 'node:worker_threads';
import { ChunkMaker, type ChunkReply, type ChunkRequest } from './chunk-maker.ts';
import type { ContentOptions } from '../chain/content.ts';

/** Messages of the thread: a requested chunk, or its progress towards a distant one. */
export type ChunkMessage = ChunkReply | { passingIndex: number };

const PROGRESS_EVERY_MS = 2000;

if (parentPort === null) throw new Error('this file is the entry of a worker thread');
const port = parentPort;
const maker = new ChunkMaker(workerData as ContentOptions);

port.on('message', (request: ChunkRequest) => {
  let saidAt = performance.now();
  const reply = maker.make(request, (index) => {
    if (performance.now() - saidAt < PROGRESS_EVERY_MS) return;
    saidAt = performance.now();
    port.postMessage({ passingIndex: index } satisfies ChunkMessage);
  });
  port.postMessage(reply satisfies ChunkMessage, [reply.bytes.buffer, reply.ends.buffer]);
});
