import { startRedisBus } from '../support/redis.ts';
import { conformance } from './bus-suite.ts';

await conformance(startRedisBus);
