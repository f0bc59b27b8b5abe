import { test } from 'tap';
import { ConfigError, loadConfig, readSetting, readVariable } from '../../../../src/run/config/load.ts';
import { VARIABLE_KEYS, VARIABLES } from '../../../../src/run/config/variables.ts';

const MINIMUM = { CONTINUUM_GRPC_URL: 'localhost:50051', DATABASE_URL: 'postgres://u:p@localhost/db' };
const LINKS = [
  'tcp://10.96.0.12:8083',
  'udp://10.96.0.12:53',
  'sctp://[fd00::1]:7',
  '"tcp://10.96.0.12:8083"',
];
const PORTS = ['healthCheckPort', 'apiPort', 'metricsPort'] as const;

const sources = (env: Record<string, string>, file = '') => ({
  env: { ...MINIMUM, ...env },
  cwd: '/srv/app',
  readFile: () => file,
});

void test('the address of a service under the name of a port is a warning, and the default holds', async (t) => {
  const named = VARIABLE_KEYS.filter((key) => VARIABLES[key].name.endsWith('_PORT'));
  t.strictSame(named, [...PORTS], 'every variable of ours that the name of a service could set');
  const plain = loadConfig(sources({}));
  for (const key of PORTS) {
    const { name } = VARIABLES[key];
    for (const link of LINKS) {
      const config = loadConfig(sources({ [name]: link }));
      t.strictSame({ ...config, warnings: [] }, { ...plain, warnings: [] }, `${name}=${link}`);
      t.strictSame(config.warnings, [
        `${name} = "${link.replaceAll('"', '')}" is the address of a service, as Kubernetes and docker links set it, and no port of ours: it counts as unset`,
      ]);
      t.equal(readVariable(name, sources({ [name]: link })), null);
      t.equal(readSetting(key, sources({ [name]: link })), plain[key]);
    }
  }
});

void test('what a person wrote into the file holds beside it', async (t) => {
  const given = sources({ API_PORT: 'tcp://10.96.0.12:8083' }, 'API_PORT=9000\n');
  const config = loadConfig(given);
  t.equal(config.apiPort, 9000);
  t.match(config.warnings, [/^API_PORT = "tcp:/]);
  t.equal(readVariable('API_PORT', given), '9000');
});

void test('anything else that is no port stays a mistake', async (t) => {
  for (const text of ['http://localhost:8083', 'tcp:8083', 'tcp://', '8083/tcp', ':8083', '-1', '65536']) {
    t.throws(() => loadConfig(sources({ API_PORT: text })), ConfigError, text);
  }
  t.throws(() => loadConfig(sources({}, 'API_PORT=tcp://10.96.0.12:8083\n')), ConfigError, 'in the file');
  t.throws(() => loadConfig(sources({ CONTINUUM_GRPC_URL: 'tcp://10.96.0.12:50051' })), ConfigError);
});
