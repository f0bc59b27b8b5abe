import type { BusOptions, StreamBus } from './bus.ts';

export async function openRedisBus(_uri: string, _options: BusOptions): Promise<StreamBus> {
  throw new Error('not yet');
}
