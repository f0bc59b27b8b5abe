import { startKafkaBus } from '../support/bus/kafka-bus.ts';
import { conformance } from './suite.ts';

// brokers without KIP-848
await conformance(() => startKafkaBus('classic'));
