import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { growingSimArguments, simArguments, type ChainSpec } from './content/expected.ts';
import { TcpProxy } from '../servers/proxy.ts';
import type { Random } from '../random.ts';
import { startSim, type RunningSim, type SimEvent } from './sim.ts';

/** A simulator must not outlive a test process that was killed. */
const SIM_LIFE_MS = 3_600_000;
/** What a replacement has beyond the one before it, s of growth: its head never goes backwards. */
const AHEAD_SECONDS = 0.5;

export interface SequencerOptions {
  spec: ChainSpec;
  /** ticks of the chain, all there from the start; null: it grows by spec.ticksPerSecond */
  count: number | null;
  /** more arguments: faults */
  sim?: readonly string[] | undefined;
  /** other arguments in the place of those that make it serve `spec` */
  simArgs?: readonly string[] | undefined;
  /** clients speak with it through a proxy */
  simProxied?: boolean | undefined;
  random: Random;
}

/** The simulator of a harness: it can be frozen and be replaced by another process, its log goes on. */
export class Sequencer {
  readonly proxy: TcpProxy | null;
  readonly #options: SequencerOptions;
  readonly #folder: string;
  #sim: RunningSim;
  readonly #startedMs = performance.now();
  #isFrozen = false;
  /** how often another process took its place */
  replaced = 0;

  private constructor(options: SequencerOptions, folder: string, sim: RunningSim, proxy: TcpProxy | null) {
    this.#options = options;
    this.#folder = folder;
    this.#sim = sim;
    this.proxy = proxy;
  }

  static async start(options: SequencerOptions): Promise<Sequencer> {
    const folder = await mkdtemp(join(tmpdir(), 'sequencer-'));
    const sim = await startSim(argumentsOf(options, folder), { from: 'dist' });
    const proxy = options.simProxied === true ? await TcpProxy.start(sim.address, options.random) : null;
    return new Sequencer(options, folder, sim, proxy);
  }

  /** host:port for clients */
  get address(): string {
    return this.proxy?.address ?? this.#sim.address;
  }

  log = (): SimEvent[] => this.#sim.log();

  logged = (fits: (event: SimEvent) => boolean): Promise<SimEvent> => this.#sim.logged(fits);

  /** The process does nothing and answers nothing; its connections stay open. */
  freeze(): void {
    this.#isFrozen = true;
    process.kill(this.#sim.pid, 'SIGSTOP');
  }

  thaw(): void {
    if (this.#isFrozen) process.kill(this.#sim.pid, 'SIGCONT');
    this.#isFrozen = false;
  }

  /** No further tick is made (SIGUSR1). Resolves with the number of the last one. */
  async stopGrowing(): Promise<bigint> {
    process.kill(this.#sim.pid, 'SIGUSR1');
    const { head } = await this.logged(({ event }) => event === 'frozen');
    return BigInt(head ?? this.#options.spec.first - 1n);
  }

  /** Another process on the same port serves the same chain, at least as long as it was. */
  async replace(signal: 'SIGKILL' | 'SIGTERM', pauseMs = 0): Promise<void> {
    this.thaw();
    const { address } = this.#sim;
    process.kill(this.#sim.pid, signal);
    await this.#sim.exited;
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    const { spec, count } = this.#options;
    const seconds = (performance.now() - this.#startedMs) / 1000 + (this.replaced + 1) * AHEAD_SECONDS;
    const head = Math.ceil(seconds * Number(spec.ticksPerSecond));
    const grown = count === null ? ['--head', `${head}`] : [];
    this.#sim = await startSim([...argumentsOf(this.#options, this.#folder), ...grown, '--listen', address], {
      from: 'dist',
    });
    this.replaced += 1;
  }

  async stop(): Promise<void> {
    this.thaw();
    await this.#sim.stop();
    await this.proxy?.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function argumentsOf(options: SequencerOptions, folder: string): string[] {
  const { spec, count, sim = [], simArgs } = options;
  const content = simArgs ?? (count === null ? growingSimArguments(spec) : simArguments(spec, count));
  const ownLog = content.includes('--log') ? [] : ['--log', join(folder, 'sim.jsonl')];
  return [...content, '--exit-after-ms', `${SIM_LIFE_MS}`, ...ownLog, ...sim];
}
