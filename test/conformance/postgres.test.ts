import { startPostgresBus } from '../support/postgres-bus.ts';
import { conformance } from './bus-suite.ts';

await conformance(startPostgresBus);
