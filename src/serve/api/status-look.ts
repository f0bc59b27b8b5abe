import { BusError, type GroupInfo } from '../../bus/bus.ts';
import { formatMicros, parseIsoMicros, type Clock } from '../../core/time.ts';
import { deadline } from '../../core/wait.ts';
import { readOverview, type Overview } from '../../store/chain/overview.ts';
import { schemaStatus, type SchemaFile, type SchemaStatus } from '../../store/schema/migrate.ts';
import type { ReadBus } from './bus-reading.ts';
import type { Reading } from './reading.ts';
import type { BUS_TROUBLES, StatusItem } from './status-item.ts';

export interface StatusSources {
  reading: Reading;
  bus: Pick<ReadBus, 'kind' | 'groups'>;
  /** whose groups are shown */
  topics: readonly string[];
  /** of this program */
  schema: readonly SchemaFile[];
  clock: Clock;
}

/** So long a look is shown again. */
const KEPT_MS = 1_000;
/** The bus has so long: who asks wants to know above all that it does not answer. */
const BUS_MS_MAX = 2_000;

type BusPart = Pick<StatusItem, 'bus' | 'bus_error'>;
type BusTrouble = (typeof BUS_TROUBLES)[number];

class LateError extends Error {
  override name = 'LateError';
}

/** One look at database and bus for all who ask within a second; those who ask while it is under way wait for it. */
export class StatusLook {
  readonly #sources: StatusSources;
  #looking: Promise<StatusItem> | null = null;
  #seen: { item: StatusItem; atMs: number } | null = null;
  /** of the bus, under way: a bus that hangs is not asked again before it has answered */
  #groups: Promise<GroupInfo[]> | null = null;

  constructor(sources: StatusSources) {
    this.#sources = sources;
  }

  /** Rejects with ApiError unavailable while the database is away. */
  item(): Promise<StatusItem> {
    const seen = this.#seen;
    if (seen !== null && this.#sources.clock.monotonicMs() - seen.atMs < KEPT_MS)
      return Promise.resolve(seen.item);
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #look(): Promise<StatusItem> {
    const { reading, schema, clock } = this.#sources;
    const ofBus = this.#lookAtBus();
    const { overview, files } = await reading.run(async (client) => ({
      overview: await readOverview(client),
      files: await schemaStatus(client, schema),
    }));
    const item = { ...chainPart(overview), schema: schemaPart(files), ...(await ofBus) };
    this.#seen = { item, atMs: clock.monotonicMs() };
    return item;
  }

  async #lookAtBus(): Promise<BusPart> {
    const { bus, topics } = this.#sources;
    this.#groups ??= this.#readGroups().finally(() => {
      this.#groups = null;
    });
    // of a look that somebody began before and that fails after our time
    this.#groups.catch(() => {});
    try {
      const groups = await deadline(this.#groups, BUS_MS_MAX, () => new LateError('the bus is late'));
      return { bus: { kind: bus.kind, topics: [...topics], groups: groups.map(groupOf) }, bus_error: null };
    } catch (error) {
      const trouble = troubleOf(error);
      if (trouble === null) throw error;
      return { bus: null, bus_error: trouble };
    }
  }

  async #readGroups(): Promise<GroupInfo[]> {
    const { bus, topics } = this.#sources;
    const groups: GroupInfo[] = [];
    for (const topic of topics) groups.push(...(await bus.groups(topic)));
    return groups;
  }
}

/** null: a mistake of ours */
function troubleOf(error: unknown): BusTrouble | null {
  if (error instanceof LateError) return 'timeout';
  return error instanceof BusError ? error.kind : null;
}

function groupOf(info: GroupInfo): NonNullable<StatusItem['bus']>['groups'][number] {
  const { topic, group, partition, members, pending, lag, lagMs, idleMs, acknowledged } = info;
  return { topic, group, partition, members, pending, lag, lag_ms: lagMs, idle_ms: idleMs, acknowledged };
}

function schemaPart({ applied, pending, unknown }: SchemaStatus): StatusItem['schema'] {
  return { applied, behind: pending, unknown };
}

function chainPart(overview: Overview): Omit<StatusItem, 'schema' | keyof BusPart> {
  return {
    now: formatMicros(overview.nowMicros),
    chain_id: overview.chainId,
    origin: overview.origin,
    position: overview.position,
    complete_up_to: overview.completeUpTo,
    floor: overview.floor,
    newest_timestamp: overview.newestTimestamp,
    gaps: overview.gaps,
    open_gaps: overview.openGaps.map(({ lastError, nextAttempt, ...gap }) => ({
      ...gap,
      last_error: lastError,
      next_attempt: nextAttempt === null ? null : formatMicros(parseIsoMicros(nextAttempt)),
    })),
    dead_letters: overview.deadLetters,
    halt: overview.halt,
    leader: overview.leader,
    edition: overview.edition,
  };
}
