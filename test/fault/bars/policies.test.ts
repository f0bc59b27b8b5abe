import { smallOnOneBus } from '../../prove/bars/small.ts';

smallOnOneBus('redis');
