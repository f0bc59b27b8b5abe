import { readFileSync } from 'node:fs';
import { ApiStage } from '../../serve/api/api-stage.ts';
import { livenessRoutes } from '../../serve/api/routes/liveness.ts';
import type { Routes } from '../../serve/api/server.ts';
import type { Stage } from '../../stream/stage.ts';
import type { Connections } from '../stages/connected-stage.ts';
import type { StageSetup } from '../stages/stage-setup.ts';
import { TokenAccess } from './token-access.ts';

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** The API with everything that its routes hold. */
export function buildApi({ api }: StageSetup, { env, meter }: Connections): Stage {
  if (api === undefined) throw new Error('the stage api has no settings');
  const access = new TokenAccess(api.token);
  if (access.isOpen)
    env.log(
      'warn',
      'The API asks for no token: everybody on this machine may use it (API_TOKEN is not set)',
      {
        port: api.port,
      },
    );
  const routes: Routes[] = [livenessRoutes];
  return new ApiStage({
    host: api.host,
    port: api.port,
    access,
    routes,
    version,
    allowedHosts: api.allowedHosts,
    env,
    meter,
    close: () => Promise.resolve(),
  });
}
