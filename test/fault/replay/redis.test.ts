import { smallOnBus } from '../../prove/replay/small.ts';

smallOnBus('redis');
