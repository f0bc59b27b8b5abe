import type { AddressInfo } from 'node:net';
import type { StreamBus } from '../../../src/bus/bus.ts';
import { LongConnections } from '../../../src/serve/api/live/connections.ts';
import { LiveApi } from '../../../src/serve/api/live/live-api.ts';
import { Tickets } from '../../../src/serve/api/live/tickets.ts';
import { liveRoutes } from '../../../src/serve/api/routes/live.ts';
import { buildApi } from '../../../src/serve/api/server.ts';
import { ChainSource } from '../../../src/serve/live/chain/source.ts';
import { ChangeSource } from '../../../src/serve/live/changes/source.ts';
import { LiveFeed } from '../../../src/serve/live/feed.ts';
import { Checkpoints } from '../../../src/serve/live/ticks/checkpoints.ts';
import { TickSource } from '../../../src/serve/live/ticks/source.ts';
import { NO_PROVIDERS } from '../../../src/core/market/identity/providers.ts';
import { LiveChain } from '../../../src/store/live/chain.ts';
import { LIVE_BARS, LIVE_SIGNALS, LiveRows } from '../../../src/store/live/rows.ts';
import { LiveSessions } from '../../../src/store/live/sessions.ts';
import { LiveTickTable } from '../../../src/store/live/ticks.ts';
import { testEnv } from '../bus/env.ts';

/** The live path over a bus and a database, on a port of loopback. */
export interface LiveServer {
  url: string;
  live: LiveApi;
  close(): Promise<void>;
}

export async function startLive(
  bus: StreamBus,
  dbUri: string,
  traits: { heartbeatMs?: number; memoryBytes?: number; isValid?: () => boolean } = {},
): Promise<LiveServer> {
  const lines: unknown[] = [];
  const env = testEnv({ log: (...line) => void lines.push(line) });
  const sessions = new LiveSessions({ dbUri, applicationName: 'test' });
  const { hub, reader } = sessions;
  const table = new LiveTickTable(hub, reader);
  const topic = 'mdp.events';
  const checkpoints = new Checkpoints({
    bus,
    topic,
    group: 'tick-consumer',
    snapshot: () => table.snapshot(),
  });
  const memory = traits.memoryBytes === undefined ? {} : { memoryBytes: traits.memoryBytes };
  const feed = new LiveFeed({
    ticks: new TickSource({
      hubTools: {
        bus,
        topic,
        checkpoints,
        table,
        providers: NO_PROVIDERS,
        env,
        checkpointMs: 300,
        ...memory,
      },
      table,
      checkpoints,
    }),
    bars: new ChangeSource({ table: new LiveRows(LIVE_BARS, hub, reader), event: 'bar', env, pollMs: 50 }),
    signals: new ChangeSource({
      table: new LiveRows(LIVE_SIGNALS, hub, reader),
      event: 'signal',
      env,
      pollMs: 50,
    }),
    chain: new ChainSource({ chain: new LiveChain(hub, reader), env }),
  });
  const principal = { name: 'test', scopes: new Set(['read'] as const) };
  const access = {
    isOpen: true,
    anonymous: principal,
    authenticate: () => ((traits.isValid ?? (() => true))() ? principal : null),
  };
  const connections = new LongConnections({ perTokenMax: 300, totalMax: 300 }, traits.heartbeatMs);
  const live = new LiveApi({ feed, connections, tickets: new Tickets(env.clock), access, env });
  const app = await buildApi({
    access,
    routes: liveRoutes(live),
    version: '0',
    env,
    limits: { requestsPerSecondMax: 0 },
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  return {
    url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`,
    live,
    close: async () => {
      await app.close();
      await sessions.close();
    },
  };
}
