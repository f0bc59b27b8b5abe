// Imports only point left: core <- store <- bus <- ingest <- stream <- serve <- run (docs/architecture.md).
// `sim` is a program beside the daemon: it may use core alone, so that it can never share a bug with the store. `client` is for
// programs beside the daemon, browsers among them: it may use core alone as well.
const layer = (name, ...below) => ({
  name: `${name}-imports-left`,
  comment: `src/${name} may import only itself${below.length > 0 ? ` and ${below.join(', ')}` : ''}: the arrows keep the hot path and the SQL replaceable.`,
  severity: 'error',
  from: { path: `^src/${name}/` },
  to: { path: '^src/', pathNot: `^src/(${[name, ...below].join('|')})/` },
});

// a module of Node has no folder
const NODE_OR_PACKAGE = '^(node:|[a-z_]+(/promises)?$)|node_modules/';

export default {
  forbidden: [
    layer('core'),
    layer('store', 'core'),
    layer('bus', 'core', 'store'),
    layer('ingest', 'core', 'store', 'bus'),
    layer('stream', 'core', 'store', 'bus', 'ingest'),
    layer('serve', 'core', 'store', 'bus', 'ingest', 'stream'),
    layer('sim', 'core'),
    layer('client', 'core'),
    {
      name: 'client-runs-in-browsers',
      comment:
        'tick-ingester/client is served to browsers: nothing that it reaches may be a module of Node, or a package.',
      severity: 'error',
      from: { path: '^src/client/' },
      to: { path: NODE_OR_PACKAGE, reachable: true },
    },
    {
      name: 'core-is-pure',
      comment:
        'core has no socket, thread, clock or environment: its functions are tested with values alone. node:crypto hashes are pure.',
      severity: 'error',
      from: { path: '^src/core/' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|buffer|assert)$' },
    },
    {
      name: 'core-needs-no-package',
      comment: 'core imports no npm package: it must run in any worker without loading one.',
      severity: 'error',
      from: { path: '^src/core/' },
      to: { dependencyTypes: ['npm', 'npm-dev'] },
    },
    {
      name: 'parser-never-reaches-pg',
      comment:
        'a parser thread turns bytes into bytes; a database driver in it would cost memory and hide I/O.',
      severity: 'error',
      from: { path: '^src/ingest/parser/' },
      to: { path: 'node_modules/pg/', reachable: true },
    },
    {
      name: 'no-cycles',
      comment: 'a cycle has no first file to read',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-dev-dependency-in-src',
      comment: 'what ships must run after npm ci --omit=dev',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
  },
};
