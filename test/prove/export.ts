/**
 * The part of make prove-replay that is about exports: ticks as CSV and Parquet at full size. What happens to them when they are killed, and
 * when disks and buckets fail, is in test/fault/export and test/integration/serve/export at the size that it needs.
 *
 *   SEED=<u32>     repeats the random choices of a run
 *   ONLY=<text>    runs the scenarios whose name holds the text
 *   PROVE=small    the sizes of the tests, to try the run itself
 */
import { writesFiles } from './export/files.ts';
import { FULL_FILES, SMALL_FILES } from './export/sizes.ts';
import { onEmbedded, prove, sized } from './runner.ts';

const files = sized(FULL_FILES, SMALL_FILES);

await prove([
  {
    line: '3',
    name: 'ticks as CSV and Parquet beside psql and DuckDB',
    run: () =>
      onEmbedded({ settings: { max_wal_size: '8GB', synchronous_commit: 'off' } }, (context) =>
        writesFiles(context, files),
      ),
  },
]);
