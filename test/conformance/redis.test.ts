import { startRedisBus } from '../support/servers/redis.ts';
import { conformance } from './suite.ts';

await conformance(startRedisBus);
