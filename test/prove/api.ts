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
import { refusesStrangers } from './api/security.ts';
import { SMALL } from './api/small.ts';
import { BUSES } from './bus/harness.ts';
import { onEmbedded, prove, sized } from './runner.ts';

const conformance = sized({ examples: 500, isStateful: true }, SMALL.conformance);
const answered = sized({ answers: 100, ticks: 10 }, SMALL.answered);
const security = sized({ rounds: 20, slowClients: 400 }, SMALL.security);

await prove([
  {
    line: '1',
    name: 'conformance: schemathesis against the description',
    run: () => onEmbedded({}, (context) => conformsToItsDescription(context, conformance)),
  },
  ...BUSES.map((bus) => ({
    line: '2',
    name: `${bus}: kill -9 after each answer of the webhook`,
    run: () =>
      onEmbedded({ settings: { synchronous_commit: 'on' } }, (context) =>
        keepsWhatItAnswered(context, bus, answered),
      ),
  })),
  {
    line: '4',
    name: 'security: what strangers send',
    run: () => onEmbedded({}, (context) => refusesStrangers(context, security)),
  },
]);
