import { startKafkaBus } from '../support/bus/kafka-bus.ts';
import { conformance } from './suite.ts';

await conformance(startKafkaBus);
