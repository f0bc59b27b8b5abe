import { smallOnEachBus } from '../../prove/signals/small.ts';

smallOnEachBus('redis', 2);
