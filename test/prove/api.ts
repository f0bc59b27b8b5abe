/**
 * make prove-api: the acceptance run of the API at full size. Prints one table with the figures of each line of what it must
 * show, and ends with 1 when one of them does not hold. The tests run the same scenarios small.
 *
 *   SEED=<u32>     repeats the random choices of a run
 *   ONLY=<text>    runs the scenarios whose name holds the text
 *   PROVE=small    the sizes of the tests, to try the run itself
 */
import { keepsWhatItAnswered } from './api/answered.ts';
import { conformsToItsDescription } from './api/conformance.ts';
import { sharesTheFlush, survivesServers, survivesTheDatabase } from './api/outages.ts';
import { refusesStrangers } from './api/security.ts';
import { SMALL } from './api/small.ts';
import { answersFast } from './api/speed.ts';
import { BUSES } from './bus/harness.ts';
import { onEmbedded, prove, sized } from './runner.ts';

const conformance = sized({ examples: 300, isStateful: true }, SMALL.conformance);
const answered = sized({ answers: 100, ticks: 10 }, SMALL.answered);
const flushers = sized({ kills: 20, ticksPerRequest: 50 }, SMALL.flushers);
const outages = sized({ rounds: 10, requestsPerRound: 100, ticksPerRequest: 10 }, SMALL.outages);
const speed = sized({ ticks: 5_000_000, seconds: 10, connections: 32 }, SMALL.speed);
const security = sized({ rounds: 20, slowClients: 400 }, SMALL.security);

/** what was answered with 200 has to outlive a crash of the server */
const DURABLE = { settings: { synchronous_commit: 'on' } };

await prove([
  {
    line: '1',
    name: 'conformance: schemathesis against the description',
    run: () => onEmbedded({}, (context) => conformsToItsDescription(context, conformance)),
  },
  ...BUSES.map((bus) => ({
    line: '2',
    name: `${bus}: kill -9 after each answer of the webhook`,
    run: () => onEmbedded(DURABLE, (context) => keepsWhatItAnswered(context, bus, answered)),
  })),
  ...BUSES.flatMap((bus) => [
    {
      line: '2',
      name: `${bus}: two flushers, one of them killed`,
      run: () => onEmbedded(DURABLE, (context) => sharesTheFlush(context, bus, flushers)),
    },
    {
      line: '2',
      name: `${bus}: the bus crashes, connections are cut`,
      run: () => onEmbedded(DURABLE, (context) => survivesServers(context, bus, outages)),
    },
  ]),
  ...(['redis', 'kafka'] as const).map((bus) => ({
    line: '2',
    name: `${bus}: the database is away`,
    run: () => onEmbedded(DURABLE, (context, server) => survivesTheDatabase(context, server, bus, outages)),
  })),
  {
    line: '5',
    name: 'speed: requests a second and p99',
    run: () => onEmbedded({}, (context) => answersFast(context, 'redis', speed)),
  },
  {
    line: '4',
    name: 'security: what strangers send',
    run: () => onEmbedded({}, (context) => refusesStrangers(context, security)),
  },
]);
