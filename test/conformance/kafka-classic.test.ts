import { startKafkaBus } from '../support/kafka-bus.ts';
import { conformance } from './bus-suite.ts';

// brokers without KIP-848
await conformance(() => startKafkaBus('classic'));
