import type { Command } from 'commander';
import { runStreaming, withBus, type StreamCommands, type StreamEnvironment } from './commands.ts';
import {
  registerFlush,
  registerInfer,
  registerMicroBatch,
  registerSignals,
  registerTicks,
} from './consumers.ts';
import { registerGroups } from './groups.ts';
import { registerProduce } from './produce.ts';
import { registerStreamReplay } from './replay.ts';
import { registerTail } from './tail.ts';

/** `mdp stream …`: the roles on the bus as separate programs, and commands that inspect the bus. */
export function registerStream(program: Command, env: StreamEnvironment): void {
  const stream = program
    .command('stream')
    .description('the stream bus: producers, consumers, and looks at what is on it');
  const commands: StreamCommands = {
    command: (name, description) =>
      stream
        .command(name)
        .description(description)
        .option(
          '--config <file>',
          'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)',
        ),
    run: runStreaming,
    withBus: (config, work) => withBus(env, config, work),
  };
  registerProduce(commands, env);
  registerTicks(commands, env);
  registerMicroBatch(commands, env);
  registerInfer(commands, env);
  registerSignals(commands, env);
  registerFlush(commands, env);
  registerStreamReplay(commands, env);
  registerTail(commands);
  registerGroups(commands);
}
