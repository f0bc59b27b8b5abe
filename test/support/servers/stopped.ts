import { readdirSync, readFileSync } from 'node:fs';
import { until } from '../until.ts';

/** After SIGSTOP: threads that run at this moment stop a little later, and on a busy machine may answer once more before. */
export async function untilStopped(pid: number): Promise<void> {
  await until(`all threads of ${pid} stand still`, () =>
    readdirSync(`/proc/${pid}/task`).every((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
    }),
  );
}
