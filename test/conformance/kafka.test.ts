import { startKafkaBus } from '../support/kafka-bus.ts';
import { conformance } from './bus-suite.ts';

await conformance(startKafkaBus);
