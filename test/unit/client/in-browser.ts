// Runs the client with the globals of a browser and nothing else: node --experimental-vm-modules in-browser.ts URL
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { createContext, SourceTextModule } from 'node:vm';

const url = process.argv[2];
const { fetch, Headers, Response, URL, URLSearchParams, TextDecoder, TextEncoder } = globalThis;
const { AbortController, ReadableStream, DOMException, performance, setTimeout, clearTimeout } = globalThis;
const say = (text: string): void => console.log(text);
const web = { fetch, Headers, Response, URL, URLSearchParams, TextDecoder, TextEncoder, AbortController };
const context = createContext({
  ...web,
  ReadableStream,
  DOMException,
  performance,
  setTimeout,
  clearTimeout,
  apiUrl: url,
  say,
});

const modules = new Map<string, SourceTextModule>();

function load(file: URL): SourceTextModule {
  const known = modules.get(file.href);
  if (known !== undefined) return known;
  const source = stripTypeScriptTypes(readFileSync(file, 'utf8'));
  const module = new SourceTextModule(source, { context, identifier: file.href });
  modules.set(file.href, module);
  return module;
}

const program = new SourceTextModule(
  `import { createClient, microsOf } from '../../../src/client/exports.ts';
  const client = createClient({ url: apiUrl, token: 't' });
  const seen = [];
  for await (const item of client.recent('BTC')) seen.push(String(item.seq), String(microsOf(item.ts)));
  for await (const event of client.live({ topic: 'ticks' })) { seen.push(event.id); break; }
  await client.latest('NONE').catch((error) => seen.push(error.code));
  say(seen.join(' '));`,
  { context, identifier: import.meta.url },
);
// a module of Node is no file, so that an import of one fails here
await program.link((specifier, from) => load(new URL(specifier, from.identifier)));
await program.evaluate();
