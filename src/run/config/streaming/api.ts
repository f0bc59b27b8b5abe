import { isIP } from 'node:net';
import { z } from 'zod';

/** As proxy-addr reads them. */
const network = z.string().refine((text) => {
  const [address = '', bits, more] = text.split('/');
  const width = isIP(address) === 6 ? 128 : 32;
  const isPrefix = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= width);
  return isIP(address) !== 0 && isPrefix && more === undefined;
}, 'must be an address, or a network such as 10.0.0.0/8');

/** Limits of the API. */
export const apiSection = z.strictObject({
  rate_limit: z.int().min(0).max(1_000_000).default(2_000),
  auth_failures: z.int().min(0).max(1_000_000).default(30),
  connections_max: z.int().min(1).max(100_000).default(1_000),
  trusted_proxies: z.array(network).max(100).default([]),
});
