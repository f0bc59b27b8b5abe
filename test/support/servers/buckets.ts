import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, GetObjectCommand, NoSuchKey, S3Client } from '@aws-sdk/client-s3';
import { freePort } from './free-port.ts';
import { until } from '../until.ts';

/** A server of buckets on loopback, made of test/.venv (moto for S3, gcp-storage-emulator for GCS); it holds everything in memory. */
export interface BucketServer {
  url: string;
  /** as s3:// or gs:// would be asked, by the server's own HTTP */
  object(bucket: string, key: string): Promise<Buffer | null>;
  stop(): Promise<void>;
}

const BIN = fileURLToPath(new URL('../../.venv/bin/', import.meta.url));

export function noBuckets(): false | string {
  return existsSync(`${BIN}moto_server`) && existsSync(`${BIN}gcp-storage-emulator`)
    ? false
    : 'no moto and gcp-storage-emulator in test/.venv (scripts/test-machine.sh installs them as root)';
}

/** With a bucket of that name. */
export async function startS3(bucket: string): Promise<BucketServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const stop = run('moto_server', ['-H', '127.0.0.1', '-p', `${port}`]);
  await until('the bucket server answers', () => answers(url));
  const client = new S3Client({
    endpoint: url,
    forcePathStyle: true,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return {
    url,
    stop,
    async object(name, key) {
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: name, Key: key }));
        return Buffer.from((await Body?.transformToByteArray()) ?? []);
      } catch (error) {
        if (error instanceof NoSuchKey) return null;
        throw error;
      }
    },
  };
}

export async function startGcs(bucket: string): Promise<BucketServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const args = [
    'start',
    '--host',
    '127.0.0.1',
    '--port',
    `${port}`,
    '--in-memory',
    '--default-bucket',
    bucket,
  ];
  const stop = run('gcp-storage-emulator', args);
  await until('the bucket server answers', () => answers(url));
  const of = (name: string, key: string): string =>
    `${url}/download/storage/v1/b/${name}/o/${encodeURIComponent(key)}?alt=media`;
  return { url, stop, object: (name, key) => bytesOf(of(name, key)) };
}

/** In front of a server: requests that `isRefused` names are answered 403. */
export async function refusing(
  to: string,
  isRefused: (method: string, url: string) => boolean,
): Promise<{ url: string; refused(): number; stop(): Promise<void> }> {
  let refused = 0;
  const server: Server = createServer((incoming: IncomingMessage, outgoing: ServerResponse) => {
    const { method = '', url = '' } = incoming;
    if (isRefused(method, url)) {
      refused += 1;
      incoming.resume();
      outgoing.writeHead(403, { 'content-type': 'application/xml' });
      outgoing.end('<Error><Code>AccessDenied</Code><Message>no more</Message></Error>');
      return;
    }
    const forwarded = request(new URL(url, to), { method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.on('error', () => outgoing.destroy());
    incoming.pipe(forwarded);
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${port}`,
    refused: () => refused,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function run(program: string, args: readonly string[]): () => Promise<void> {
  const child = spawn(`${BIN}${program}`, args, { stdio: 'ignore' });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return async () => {
    process.off('exit', kill);
    kill();
    await ended;
  };
}

async function answers(url: string): Promise<boolean> {
  const answer = await fetch(url).catch(() => null);
  await answer?.arrayBuffer();
  return answer !== null;
}

async function bytesOf(url: string): Promise<Buffer | null> {
  const answer = await fetch(url);
  const bytes = Buffer.from(await answer.arrayBuffer());
  return answer.ok ? bytes : null;
}
