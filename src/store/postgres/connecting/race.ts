import { connect, type NetConnectOpts, type Socket } from 'node:net';

/** Before the next address is tried beside those that have not answered, ms (RFC 8305). */
const STAGGER_MS = 250;

/**
 * The first connection that comes about to one of these places. They are tried in their order, each one soon after the one
 * before, or at once when that failed; none is given up before `signal` aborts. So an address without a route costs nothing,
 * one that does not answer a moment, and one that is slow to answer is waited for.
 *
 * Rejects with the last failure, or with the signal's reason.
 */
export function openFirst(places: readonly NetConnectOpts[], signal: AbortSignal): Promise<Socket> {
  const tried = new Set<Socket>();
  return new Promise<Socket>((resolve, reject) => {
    let next = 0;
    let pending = 0;
    let isOver = false;
    let timer: NodeJS.Timeout | undefined;
    const end = (winner: Socket | null): void => {
      isOver = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      for (const socket of tried) if (socket !== winner) socket.destroy();
    };
    const abort = (): void => {
      end(null);
      reject(signal.reason as Error);
    };
    const tryNext = (): void => {
      clearTimeout(timer);
      const socket = connect(places[next]);
      next += 1;
      pending += 1;
      tried.add(socket);
      socket.once('connect', () => {
        end(socket);
        resolve(socket);
      });
      // stays: what happens to the winner before its user listens must not end the process
      socket.on('error', (error) => {
        pending -= 1;
        if (isOver) return;
        if (next < places.length) tryNext();
        else if (pending === 0) {
          end(null);
          reject(error);
        }
      });
      if (next < places.length) timer = setTimeout(tryNext, STAGGER_MS);
    };
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    signal.addEventListener('abort', abort);
    tryNext();
  });
}
