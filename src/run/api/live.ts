import type { StreamBus } from '../../bus/bus.ts';
import type { Env } from '../../core/env.ts';
import { providersOf } from '../../core/market/identity/providers.ts';
import type { AccessControl } from '../../serve/api/access.ts';
import { LongConnections } from '../../serve/api/live/connections.ts';
import { LiveApi } from '../../serve/api/live/live-api.ts';
import { Tickets } from '../../serve/api/live/tickets.ts';
import { ChainSource } from '../../serve/live/chain/source.ts';
import { ChangeSource } from '../../serve/live/changes/source.ts';
import { LiveFeed } from '../../serve/live/feed.ts';
import { Checkpoints } from '../../serve/live/ticks/checkpoints.ts';
import { TickSource } from '../../serve/live/ticks/source.ts';
import { LiveChain } from '../../store/live/chain.ts';
import { LIVE_BARS, LIVE_SIGNALS, LiveRows } from '../../store/live/rows.ts';
import { LiveSessions } from '../../store/live/sessions.ts';
import { LiveTickTable } from '../../store/live/ticks.ts';
import type { StreamingConfig } from '../config/streaming/load.ts';
import { eventsTopic } from '../stages/open-bus.ts';

export interface LiveParts {
  bus: StreamBus;
  streaming: StreamingConfig;
  /** of the primary: a replica may lack what the tick consumer has acknowledged */
  databaseUrl: string;
  applicationName: string;
  access: AccessControl;
  env: Env;
}

/** The live path with what its routes need, and how it is closed. */
export function buildLive(parts: LiveParts): { live: LiveApi; close: () => Promise<void> } {
  const { bus, streaming, databaseUrl, applicationName, access, env } = parts;
  const sessions = new LiveSessions({ dbUri: databaseUrl, applicationName });
  const { hub, reader } = sessions;
  const table = new LiveTickTable(hub, reader);
  const topic = eventsTopic(streaming);
  const group = streaming.tick_consumer.consumer_group;
  const checkpoints = new Checkpoints({ bus, topic, group, snapshot: () => table.snapshot() });
  const providers = providersOf(streaming.providers);
  const rows = (of: typeof LIVE_BARS): LiveRows => new LiveRows(of, hub, reader);
  const feed = new LiveFeed({
    ticks: new TickSource({
      hubTools: { bus, topic, checkpoints, table, providers, env },
      table,
      checkpoints,
    }),
    bars: new ChangeSource({ table: rows(LIVE_BARS), event: 'bar', env }),
    signals: new ChangeSource({ table: rows(LIVE_SIGNALS), event: 'signal', env }),
    chain: new ChainSource({ chain: new LiveChain(hub, reader), env }),
  });
  const connections = new LongConnections();
  const live = new LiveApi({ feed, connections, tickets: new Tickets(env.clock), access, env });
  const close = async (): Promise<void> => {
    connections.close();
    await feed.stop();
    await sessions.close();
  };
  return { live, close };
}
