/** Rules between variables, checked after each was parsed on its own. */
import type { GrpcEndpoint } from './addresses.ts';
import { type Values, type VariableKey, VARIABLES } from './variables.ts';

/** One configuration mistake. */
export interface Problem {
  variable: string;
  problem: string;
  allowed: string;
}

/** The configuration read so far; checks adapt values and add to the two lists. */
export interface Draft {
  values: Values;
  /** set to something by file or environment */
  given: ReadonlySet<VariableKey>;
  /** did not parse: its value is the default, and checks that need it are skipped */
  failed: ReadonlySet<VariableKey>;
  problems: Problem[];
  warnings: string[];
}

/** The ring needs capacity for one frame each being read, parsed and written, and one to spare. */
const TICKS_PER_BUFFER_MIN = 4;

/**
 * What the threads take beside the buffer, and how often its bytes exist while they are on their way (frames, COPY bytes,
 * the socket): with 256 MiB in a container of 512 MiB the kernel ended the process as soon as the database was slow, with
 * 64 MiB and every stage it stayed at 400.
 */
const OTHER_BYTES = 256 * 2 ** 20;
const COPIES = 4;

export function checkValues(draft: Draft, readFile: (path: string) => string, memoryBytes: number): void {
  checkRequired(draft);
  checkBatches(draft);
  fitBuffer(draft, memoryBytes);
  checkSizes(draft);
  checkConnections(draft);
  checkTlsFiles(draft, readFile);
}

/** CONTINUUM_GRPC_URL and CONTINUUM_TLS_* as one thing; null when the address is missing. */
export function grpcEndpoint(draft: Draft): GrpcEndpoint | null {
  const { grpcUrl, grpcTlsCaFile, grpcTlsCertFile, grpcTlsKeyFile, grpcTlsServerName } = draft.values;
  if (grpcUrl === null) return null;
  const tlsGiven = [grpcTlsCaFile, grpcTlsCertFile, grpcTlsKeyFile, grpcTlsServerName].some(
    (value) => value !== null,
  );
  if (grpcUrl.scheme === 'http' && tlsGiven) {
    addProblem(draft, 'grpcUrl', 'says plaintext (http://) although CONTINUUM_TLS_* is set');
  }
  if (grpcUrl.scheme !== 'https' && !tlsGiven) {
    if (!grpcUrl.loopback) {
      draft.warnings.push(
        `CONTINUUM_GRPC_URL: the stream from ${grpcUrl.address} is plaintext; beyond this machine use https:// or CONTINUUM_TLS_CA`,
      );
    }
    return { address: grpcUrl.address, tls: null };
  }
  return {
    address: grpcUrl.address,
    tls: {
      caFile: grpcTlsCaFile,
      certFile: grpcTlsCertFile,
      keyFile: grpcTlsKeyFile,
      serverName: grpcTlsServerName,
    },
  };
}

function checkRequired(draft: Draft): void {
  const { values } = draft;
  if (parsed(draft, 'grpcUrl', 'stages') && values.grpcUrl === null && values.stages.includes('ingest')) {
    addProblem(draft, 'grpcUrl', 'is missing; the stage ingest needs it');
  }
  if (
    parsed(draft, 'database', 'outputMode') &&
    values.database === null &&
    values.outputMode !== 'console'
  ) {
    addProblem(draft, 'database', 'is missing; OUTPUT_MODE=timescale needs it');
  }
}

function checkBatches(draft: Draft): void {
  const { values, given } = draft;
  if (!parsed(draft, 'batchTicks', 'batchMaxTicks', 'bufferTicks')) return;
  if (values.bufferTicks < values.batchTicks) {
    if (given.has('batchTicks')) {
      addProblem(
        draft,
        'bufferTicks',
        `is below BATCH_SIZE (${values.batchTicks}): such a batch would never be full`,
      );
      return;
    }
    adapt(draft, 'batchTicks', values.bufferTicks, 'lowered to BUFFER_SIZE');
  }
  if (values.batchMaxTicks < values.batchTicks) {
    adapt(draft, 'batchMaxTicks', values.batchTicks, 'raised to BATCH_SIZE');
  }
  if (values.batchMaxTicks > values.bufferTicks) {
    adapt(draft, 'batchMaxTicks', values.bufferTicks, 'lowered to BUFFER_SIZE');
  }
}

/** The default follows the memory that there is; what was set is only warned of. */
function fitBuffer(draft: Draft, memoryBytes: number): void {
  const { values, given, warnings } = draft;
  if (!parsed(draft, 'tickMaxBytes', 'bufferBytes')) return;
  const least = TICKS_PER_BUFFER_MIN * values.tickMaxBytes;
  const fitting = Math.max(least, Math.floor((memoryBytes - OTHER_BYTES) / COPIES));
  if (values.bufferBytes <= fitting) return;
  const memory = `of the ${mebibytes(memoryBytes)} that this process may use`;
  if (given.has('bufferBytes')) {
    warnings.push(
      `BUFFER_BYTES: more than ${mebibytes(fitting)} ${memory} may end it while the database is slow`,
    );
    return;
  }
  values.bufferBytes = fitting;
  warnings.push(`BUFFER_BYTES: ${mebibytes(fitting)} ${memory}`);
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 20)}MiB`;
}

function checkSizes(draft: Draft): void {
  const { values, given } = draft;
  if (parsed(draft, 'tickMaxBytes', 'bufferBytes')) {
    const least = TICKS_PER_BUFFER_MIN * values.tickMaxBytes;
    if (values.bufferBytes < least) {
      addProblem(draft, 'bufferBytes', `is below ${TICKS_PER_BUFFER_MIN} × TICK_MAX_BYTES = ${least} bytes`);
    }
  }
  if (
    parsed(draft, 'tickMaxBytes', 'grpcMaxMessageBytes') &&
    values.grpcMaxMessageBytes < values.tickMaxBytes
  ) {
    if (given.has('grpcMaxMessageBytes')) {
      addProblem(draft, 'grpcMaxMessageBytes', `is below TICK_MAX_BYTES (${values.tickMaxBytes} bytes)`);
    } else {
      adapt(draft, 'grpcMaxMessageBytes', values.tickMaxBytes, 'raised to TICK_MAX_BYTES');
    }
  }
}

function checkConnections(draft: Draft): void {
  const { values, given } = draft;
  if (!parsed(draft, 'dbMinConnections', 'dbMaxConnections')) return;
  if (values.dbMinConnections <= values.dbMaxConnections) return;
  if (given.has('dbMinConnections') && given.has('dbMaxConnections')) {
    addProblem(draft, 'dbMinConnections', `is above DB_MAX_CONNECTIONS (${values.dbMaxConnections})`);
  } else if (given.has('dbMinConnections')) {
    adapt(draft, 'dbMaxConnections', values.dbMinConnections, 'raised to DB_MIN_CONNECTIONS');
  } else {
    adapt(draft, 'dbMinConnections', values.dbMaxConnections, 'lowered to DB_MAX_CONNECTIONS');
  }
}

function checkTlsFiles(draft: Draft, readFile: (path: string) => string): void {
  const { values } = draft;
  for (const key of ['grpcTlsCaFile', 'grpcTlsCertFile', 'grpcTlsKeyFile'] as const) {
    const file = values[key];
    if (file === null) continue;
    try {
      if (!readFile(file).includes('-----BEGIN '))
        addProblem(draft, key, `${file} holds nothing in PEM form`);
    } catch (error) {
      addProblem(draft, key, `${file} cannot be read (${errorCode(error)})`);
    }
  }
  if ((values.grpcTlsCertFile === null) !== (values.grpcTlsKeyFile === null)) {
    const missing = values.grpcTlsCertFile === null ? 'grpcTlsCertFile' : 'grpcTlsKeyFile';
    addProblem(draft, missing, 'is missing; certificate and key go together');
  }
}

function adapt<K extends VariableKey>(draft: Draft, key: K, value: Values[K] & number, how: string): void {
  // A default gives way silently: only what an operator wrote is worth a warning.
  if (draft.given.has(key)) draft.warnings.push(`${VARIABLES[key].name}: ${how} (${value})`);
  draft.values[key] = value;
}

function parsed(draft: Draft, ...keys: VariableKey[]): boolean {
  return keys.every((key) => !draft.failed.has(key));
}

function addProblem(draft: Draft, key: VariableKey, problem: string): void {
  draft.problems.push({ variable: VARIABLES[key].name, problem, allowed: VARIABLES[key].parser.allowed });
}

/** ENOENT and the like; the message of a file error repeats the path. */
export function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.message : String(error);
}
