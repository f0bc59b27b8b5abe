import { smallOnEachBus } from '../../prove/bars/small.ts';

smallOnEachBus('redis');
