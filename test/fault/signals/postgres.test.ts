import { smallOnEachBus } from '../../prove/signals/small.ts';

smallOnEachBus('postgres');
