import { systemClock } from '../core/time.ts';
import { parseOptions } from './options.ts';
import { startSimulator } from './simulator.ts';

const options = parseOptions(process.argv.slice(2));

function say(line: string): void {
  process.stderr.write(`sequencer-sim: ${line}\n`);
}

function fail(error: Error): never {
  say(error.message);
  process.exit(1);
}

try {
  const simulator = await startSimulator(options, systemClock, say, fail);
  let stopping = false;
  const stop = (): void => {
    if (stopping) process.exit(1); // second signal: exit at once
    stopping = true;
    simulator.stop().then(() => process.exit(0), fail);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', stop);
  process.on('SIGUSR2', () => say('SIGUSR2 is ignored'));
  process.on('SIGUSR1', () => simulator.freeze());
  if (options.exitAfterMs !== null) setTimeout(stop, options.exitAfterMs);
  process.stdout.write(`sequencer-sim listening on ${simulator.address}\n`);
} catch (error) {
  fail(error instanceof Error ? error : new Error(String(error)));
}
