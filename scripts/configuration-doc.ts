// Writes the tables of docs/configuration.md from what the program knows: node scripts/configuration-doc.ts, or make docs.
import { readFileSync, writeFileSync } from 'node:fs';
import { configurationPage } from '../src/run/config/page.ts';

const page = new URL('../docs/configuration.md', import.meta.url);
writeFileSync(page, configurationPage(readFileSync(page, 'utf8')));
