import { startPostgresBus } from '../support/bus/postgres-bus.ts';
import { conformance } from './suite.ts';

await conformance(startPostgresBus);
