import { hostname } from 'node:os';
import { Option, type Command } from 'commander';
import { runRole } from '../../stages/standalone.ts';
import { claimMemberName } from '../../stages/member-name.ts';
import { buildStage } from '../../stages/build.ts';
import type { BusStage } from '../../config/stages.ts';
import type { StreamingConfig } from '../../config/streaming/load.ts';
import { withAdapter, type Adapter } from '../../stages/evaluator.ts';
import { wholeNumber } from '../arguments.ts';
import { windowLength } from '../market-arguments.ts';
import { schemaPolicy, type StreamCommands, type StreamEnvironment } from './commands.ts';
import { withServerUrl } from '../database.ts';

/** Options of every role that consumes from the bus. */
interface RoleArguments {
  config?: string;
  group?: string;
  consumer?: string;
  batchSize?: number;
  metricsPort?: number;
}

/** @param batchSize what it limits */
function withRoleOptions(command: Command, batchSize: string): Command {
  return command
    .option('--group <name>', "consumer group (default: the role's own of the configuration)")
    .option(
      '--consumer <name>',
      'name of this member of the group; members of one group need different names (default: made of the host name, unique on the machine)',
    )
    .option('--batch-size <n>', `${batchSize} (default: of the configuration)`, wholeNumber)
    .addOption(
      new Option('--metrics-port <port>', 'port of /metrics (default: telemetry.metrics_port)').argParser(
        wholeNumber,
      ),
    );
}

/** Runs the role as its own program, on the main thread, until a signal ends it. */
function runConsumer(
  stage: BusStage,
  options: RoleArguments,
  streaming: StreamingConfig,
  env: StreamEnvironment,
): Promise<void> {
  return withServerUrl(env.databaseUrl, async (databaseUrl) => {
    const consumer = options.consumer ?? (await claimMemberName(`${hostname()}-${stage}`, databaseUrl));
    return runRole({ streaming, service: `mdp-${stage}`, metricsPort: options.metricsPort ?? null }, (host) =>
      buildStage(
        {
          stage,
          streaming,
          databaseUrl,
          serviceName: 'mdp stream',
          consumer,
          ...(options.group === undefined ? {} : { group: options.group }),
          ...(options.batchSize === undefined ? {} : { batchSize: options.batchSize }),
          schema: schemaPolicy(env.databaseUrl, 'wait'),
          maintainsBus: true,
        },
        host,
      ),
    );
  });
}

/** `mdp stream ticks`: market ticks into tick_data. */
export function registerTicks(commands: StreamCommands, env: StreamEnvironment): void {
  withRoleOptions(
    commands.command('ticks', 'market ticks from the bus into the table tick_data, each once'),
    'records of one transaction while it keeps up',
  )
    .addHelpText('after', TICKS_HELP)
    .action((options: RoleArguments, command: Command) =>
      commands.run(command, (streaming) => runConsumer('ticks', options, streaming, env)),
    );
}

/** `mdp stream micro-batch`: market events into bars. */
export function registerMicroBatch(commands: StreamCommands, env: StreamEnvironment): void {
  withRoleOptions(
    commands.command('micro-batch', 'market events from the bus into bars of exact windows: bars_ohlcv'),
    'most events that one transaction covers',
  )
    .addOption(
      new Option(
        '--window <length>',
        'length of the windows: from 500ms, and a divisor of a minute (default: micro_batch.window_ms)',
      ).argParser(windowLength),
    )
    .addHelpText('after', MICRO_BATCH_HELP)
    .action((options: RoleArguments & { window?: number }, command: Command) =>
      commands.run(command, (streaming) => {
        const windowMs = options.window ?? streaming.micro_batch.window_ms;
        const micro_batch = { ...streaming.micro_batch, window_ms: windowMs };
        return runConsumer('bars', options, { ...streaming, micro_batch }, env);
      }),
    );
}

/** `mdp stream signals`: the signals of every tick. */
export function registerSignals(commands: StreamCommands, env: StreamEnvironment): void {
  withRoleOptions(
    commands.command('signals', 'signals of every market tick: into the table signals, and onto mdp.signals'),
    'signals of one transaction while it keeps up',
  )
    .addHelpText('after', SIGNALS_HELP)
    .action((options: RoleArguments, command: Command) =>
      commands.run(command, (streaming) => runConsumer('signals', options, streaming, env)),
    );
}

/** `mdp stream infer`: features at each window's end, and what rules or a model say about them. */
export function registerInfer(commands: StreamCommands, env: StreamEnvironment): void {
  withRoleOptions(
    commands.command('infer', 'features at the end of each window, and the signals of rules or of a model'),
    'windows of one transaction while it keeps up',
  )
    .addOption(
      new Option(
        '--adapter <name>',
        'what judges the features (default: those that the configuration enables)',
      ).choices(['rules', 'sklearn', 'onnx']),
    )
    .addHelpText('after', INFER_HELP)
    .action((options: RoleArguments & { adapter?: Adapter }, command: Command) =>
      commands.run(command, (streaming) => {
        const { adapter } = options;
        return runConsumer(
          'inference',
          options,
          adapter === undefined ? streaming : withAdapter(streaming, adapter),
          env,
        );
      }),
    );
}

/** `mdp stream flush`: what the webhook took into md_ticks. */
export function registerFlush(commands: StreamCommands, env: StreamEnvironment): void {
  withRoleOptions(
    commands.command(
      'flush',
      'ticks that the webhook took, from ticks.received into md_ticks and md_ranges, each once',
    ),
    'so many ticks are stored without waiting for more',
  )
    .addHelpText('after', FLUSH_HELP)
    .action((options: RoleArguments, command: Command) =>
      commands.run(command, (streaming) => runConsumer('flusher', options, streaming, env)),
    );
}

const ENDING = `Ends at SIGTERM or Ctrl-C with what is in hand stored and acknowledged.
Exit codes: 0 stopped cleanly, 1 failed, 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default).`;

const TICKS_HELP = `
Examples:
  $ mdp stream ticks --config configs/streaming.yaml
  $ mdp stream ticks --consumer tick-2 --batch-size 1000 --metrics-port 9102

Malformed events go to mdp.events.dlq with their reason; bars and replayed ticks are left to others.
${ENDING}`;

const FLUSH_HELP = `
Examples:
  $ mdp stream flush --config configs/streaming.yaml
  $ mdp stream flush --consumer flusher-2 --metrics-port 9102

A tick waits webhook.flush_interval for others at most. With webhook.forward stored ticks also become events of mdp.events. The
daemon's stage api flushes by itself; further members of the group share the work and take over what a dead one had in hand.
${ENDING}`;

const SIGNALS_HELP = `
Examples:
  $ mdp stream signals --config configs/streaming.yaml
  $ mdp stream signals --consumer signals-2 --metrics-port 9102

vwap_deviation_bps, spread_bps, tick_rate_z, rsi, bollinger, order_imbalance and vp_distance_bps of each tick, once the
watermark of its symbol (micro_batch.allow_late_ms) has passed it; later ticks are left out and counted. Members of a group share the
partitions (bus.partitions); a further one stands by and takes over within 10 s.
${ENDING}`;

const INFER_HELP = `
Examples:
  $ mdp stream infer --config configs/streaming.yaml --adapter rules
  $ mdp stream infer --adapter onnx --consumer infer-2 --metrics-port 9102

Features are looked at when the watermark of a symbol has passed the end of a window (micro_batch.window_ms). Members of a group
share the partitions (bus.partitions); a further one stands by and takes over within 10 s.
${ENDING}`;

const MICRO_BATCH_HELP = `
Examples:
  $ mdp stream micro-batch --config configs/streaming.yaml --window 2s
  $ mdp stream micro-batch --consumer bars-2 --metrics-port 9102

A window closes when an event of its symbol is micro_batch.allow_late_ms past its end, or when the symbol was idle for
micro_batch.idle_timeout. The bars 1m, 5m, 1h and 1d are merged from the windows and are final when all of theirs are.
micro_batch.late says what becomes of events that come later: revise (default) recomputes the bar from tick_data and needs
"mdp stream ticks" to run, drop counts them, dlq puts them aside. Members of a group share the partitions (bus.partitions); a
further one stands by and takes over within 10 s. Replayed events go to bars_replay.
${ENDING}`;
