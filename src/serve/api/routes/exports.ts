import { basename } from 'node:path';
import { z } from 'zod';
import { ManifestError, parseManifest, type ExportedFile } from '../../../core/export/manifest.ts';
import { job, JOB_STATUSES, jobs } from '../../../store/queries/jobs.ts';
import { readPage } from '../../../store/queries/query.ts';
import { TooManyExportsError, type ExportJobs } from '../../export/export-jobs.ts';
import { TargetError } from '../../export/targets/target.ts';
import { answerList, answerOne } from '../answer.ts';
import { ApiError, errorResponses } from '../errors.ts';
import { exportBody, exportFiles, exportStarted, jobOf } from '../export-schemas.ts';
import { listOf, oneOf } from '../items.ts';
import { format, keyNumber, PAGE, rowId } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import { toldOf, type Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';
import { jobItem } from './jobs.ts';

const TAGS = ['exports'];
const READ = { scope: 'read' } as const;
const EXPORT = { scope: 'export' } as const;
const LIST = z.strictObject({ status: z.enum(JOB_STATUSES).optional(), ...PAGE, format });
const params = z.object({ run_id: rowId });
const key = z.strictObject({ id: keyNumber });

/** /v1/exports: files below EXPORT_DIR. @param exports null: EXPORT_DIR is not set */
export function exportRoutes(reading: Reading, exports: ExportJobs | null): Routes {
  return (api: Api): void => {
    look(api, reading);
    order(api, reading, exports);
    download(api, reading, exports);
  };
}

function look(api: Api, reading: Reading): void {
  api.get(
    '/v1/exports',
    {
      config: READ,
      schema: {
        operationId: 'exports',
        summary: 'exports, the newest first',
        tags: TAGS,
        querystring: LIST,
        response: { 200: listOf(jobItem, 'Exports, the newest first.'), ...errorResponses('not_acceptable') },
      },
    },
    (request, reply) => {
      const asked = request.query;
      const filter = { name: 'tick_export', status: asked.status ?? null };
      const list = listOfQuery({
        reading,
        route: 'exports',
        asked,
        key,
        keyOf: (last) => ({ id: String(last['id']) }),
        query: (after) => jobs(filter, after?.id ?? null),
      });
      return answerList(request, reply, list);
    },
  );
  api.get(
    '/v1/exports/:run_id',
    {
      config: READ,
      schema: {
        operationId: 'export',
        summary: 'one export',
        tags: TAGS,
        params,
        querystring: z.strictObject({ format }),
        response: { 200: oneOf(jobItem, 'The run.'), ...errorResponses('not_found', 'not_acceptable') },
      },
    },
    async (request, reply) => {
      const { batch } = await reading.run((client) =>
        readPage(client, job(request.params.run_id, 'tick_export'), 1),
      );
      return answerOne(request, reply, request.query, batch, 'there is no such export');
    },
  );
}

function order(api: Api, reading: Reading, exports: ExportJobs | null): void {
  api.post(
    '/v1/exports',
    {
      config: EXPORT,
      schema: {
        operationId: 'startExport',
        summary: 'start an export',
        description:
          'Answered once it runs. What the rows are found to be, an unknown symbol for one, is said by the run. 409: the output is being written. 503: as many exports run as may.',
        tags: TAGS,
        body: exportBody,
        response: { 202: exportStarted, ...errorResponses('not_found', 'conflict', 'unavailable') },
      },
    },
    async ({ body }, reply) => {
      const asked = jobOf(body);
      const runId = await told(jobsOf(exports).start(asked));
      reply.code(202);
      return { run_id: runId, status: 'running' as const, output: body.output };
    },
  );
  api.post(
    '/v1/exports/:run_id/cancel',
    {
      config: EXPORT,
      schema: {
        operationId: 'cancelExport',
        summary: 'give up an export, whoever runs it; nothing is left of it',
        tags: TAGS,
        params,
        response: {
          202: z
            .object({ run_id: z.number() })
            .meta({ id: 'ExportCancelled', description: 'It ends within seconds' }),
          ...errorResponses('not_found', 'conflict'),
        },
      },
    },
    async ({ params: { run_id } }, reply) => {
      const found = await statusOf(reading, run_id);
      if (found !== 'running') throw new ApiError('conflict', `the export has ended: ${found}`);
      await told(jobsOf(exports).cancel(Number(run_id)));
      reply.code(202);
      return { run_id: Number(run_id) };
    },
  );
}

function download(api: Api, reading: Reading, exports: ExportJobs | null): void {
  api.get(
    '/v1/exports/:run_id/files',
    {
      config: EXPORT,
      schema: {
        operationId: 'exportFiles',
        summary: 'the files of an export',
        tags: TAGS,
        params,
        response: { 200: exportFiles, ...errorResponses('not_found') },
      },
    },
    async ({ params: { run_id } }) => ({ items: await filesOf(reading, jobsOf(exports), run_id) }),
  );
  api.get(
    '/v1/exports/:run_id/download',
    {
      config: EXPORT,
      schema: {
        operationId: 'downloadExport',
        summary: 'a file of an export, as it is',
        tags: TAGS,
        params,
        querystring: z.strictObject({
          file: z
            .string()
            .max(1024)
            .optional()
            .meta({ description: 'The path of one of its files; without it, the only one.' }),
        }),
        response: {
          200: z.any().meta({ description: 'The bytes of the file.' }),
          ...errorResponses('not_found', 'conflict'),
        },
      },
    },
    async ({ params: { run_id }, query }, reply) => {
      const files = await filesOf(reading, jobsOf(exports), run_id);
      if (query.file === undefined && files.length > 1)
        throw new ApiError('conflict', `the export has ${files.length} files: name one (file=)`);
      const wanted = files.find(({ path }) => query.file === undefined || path === query.file);
      if (wanted === undefined) throw new ApiError('not_found', 'the export has no such file');
      const handle = await (await jobsOf(exports).target()).openFile(wanted.path);
      if (handle === null) throw new ApiError('not_found', 'the file is not there any more');
      const { size } = await handle.stat();
      reply
        .header('content-type', typeOf(wanted.path))
        .header('content-length', size)
        .header('content-disposition', `attachment; filename="${basename(wanted.path)}"`)
        .header('x-content-sha256', wanted.sha256);
      return reply.send(handle.createReadStream());
    },
  );
}

function jobsOf(exports: ExportJobs | null): ExportJobs {
  if (exports === null)
    throw new ApiError('not_found', 'there is no folder for exports: EXPORT_DIR is not set');
  return exports;
}

async function told<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof TooManyExportsError)
      throw new ApiError('unavailable', error.message, { retryAfterSeconds: 10 });
    if (!(error instanceof TargetError)) throw toldOf(error);
    if (error.kind === 'in_the_way') throw new ApiError('conflict', error.message);
    throw new ApiError('bad_request', error.message, {
      details: [{ path: 'body.output', message: error.message }],
    });
  }
}

async function statusOf(reading: Reading, runId: bigint): Promise<string> {
  const { batch } = await reading.run((client) => readPage(client, job(runId, 'tick_export'), 1));
  const found = batch.last();
  if (found === null) throw new ApiError('not_found', 'there is no such export');
  return String(found['status']);
}

/** By the manifest below the folder that the run names. */
async function filesOf(reading: Reading, exports: ExportJobs, runId: bigint): Promise<ExportedFile[]> {
  const { batch } = await reading.run((client) => readPage(client, job(runId, 'tick_export'), 1));
  const found = batch.last();
  if (found === null) throw new ApiError('not_found', 'there is no such export');
  const { manifest } = JSON.parse(String(found['metadata'])) as { manifest?: unknown };
  if (typeof manifest !== 'string') throw new ApiError('not_found', 'the export has written no file');
  try {
    const text = await (await exports.target()).read(manifest);
    if (text === null) throw new ApiError('not_found', 'the files are not there any more');
    const { files, options } = parseManifest(text.toString('utf8'), 'the manifest');
    const cut = manifest.lastIndexOf('/') + 1;
    const folder = options.partition_by.length > 0 ? manifest.slice(0, cut) : '';
    return files.map((each) => ({ ...each, path: `${folder}${each.path}` }));
  } catch (error) {
    // of a command: elsewhere
    if (error instanceof TargetError || error instanceof ManifestError)
      throw new ApiError('not_found', 'the files are not below the export folder');
    throw error;
  }
}

function typeOf(path: string): string {
  if (path.endsWith('.gz')) return 'application/gzip';
  if (path.endsWith('.zst')) return 'application/zstd';
  return path.endsWith('.csv') ? 'text/csv; charset=utf-8' : 'application/vnd.apache.parquet';
}
