import { smallScenarios } from '../../prove/bus/small.ts';

smallScenarios('postgres');
