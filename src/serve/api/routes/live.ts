import type { LiveApi } from '../live/live-api.ts';
import type { Api, Routes } from '../routes.ts';
import { streamRoutes } from './stream.ts';
import { ticketRoutes } from './tickets.ts';
import { wsRoutes } from './ws.ts';

/** The live path for who may read. */
export function liveRoutes(live: LiveApi): Routes[] {
  return [ticketRoutes(live), streamRoutes(live), wsRoutes(live), endWithServer(live)];
}

/** Connections that stay open are ended when the server closes, and not waited for. */
function endWithServer(live: LiveApi): Routes {
  return (api: Api): void => {
    api.addHook('preClose', async () => {
      live.connections.close();
      await live.feed.stop();
    });
  };
}
