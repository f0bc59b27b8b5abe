import { PassThrough } from 'node:stream';
import { finished } from 'node:stream/promises';
import { Storage, type Bucket, type File } from '@google-cloud/storage';
import { ObjectFile, type ObjectUpload } from './object-file.ts';
import type { BucketPlace } from './s3.ts';
import { TargetError, type ExportTarget, type TargetFile } from './target.ts';

/** So much of a file is uploaded at once; a multiple of 256 KiB */
const CHUNK_BYTES = 16 * 1024 * 1024;

/**
 * A prefix of a bucket of Google Cloud Storage. Credentials are found as every Google library does
 * (GOOGLE_APPLICATION_CREDENTIALS, …); STORAGE_EMULATOR_HOST names another server. Files go in chunks; an object is there once
 * the upload is complete.
 */
export class GcsTarget implements ExportTarget {
  readonly #bucket: Bucket;
  readonly #prefix: string;

  constructor({ bucket, prefix }: BucketPlace) {
    this.#bucket = new Storage().bucket(bucket);
    this.#prefix = prefix;
  }

  address(name: string): string {
    return `gs://${this.#bucket.name}/${this.#prefix}${name}`;
  }

  async create(name: string): Promise<TargetFile> {
    // a bucket that is not there should be said before the rows are read
    const [isThere] = await this.#bucket.exists().catch((error: unknown) => {
      // to look at a bucket may be forbidden where to write is not
      if (statusOf(error) === 403) return [true];
      throw gcsError(this.address(name), error);
    });
    if (!isThere)
      throw new TargetError('missing', `cannot write ${this.address(name)}: there is no such bucket`);
    return new ObjectFile(uploadTo(this.#file(name), this.address(name)));
  }

  async read(name: string): Promise<Buffer | null> {
    try {
      const [bytes] = await this.#file(name).download();
      return bytes;
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw gcsError(this.address(name), error);
    }
  }

  hasOthers(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async remove(name: string): Promise<void> {
    try {
      await this.#file(name).delete({ ignoreNotFound: true });
    } catch (error) {
      throw gcsError(this.address(name), error);
    }
  }

  #file(name: string): File {
    return this.#bucket.file(`${this.#prefix}${name}`);
  }
}

function uploadTo(file: File, address: string): ObjectUpload {
  const body = new PassThrough({ highWaterMark: CHUNK_BYTES });
  const upload = file.createWriteStream({ resumable: true, chunkSize: CHUNK_BYTES, validation: 'crc32c' });
  const done = finished(body.pipe(upload));
  body.on('error', (error) => upload.destroy(error));
  return {
    body,
    done,
    abort() {
      body.destroy(new Error('the export was given up'));
      return Promise.resolve();
    },
    remove: async () => void (await file.delete({ ignoreNotFound: true })),
    failure: (error) => gcsError(address, error),
  };
}

function statusOf(error: unknown): number | undefined {
  const code = (error as { code?: number | string } | null)?.code;
  return typeof code === 'number' ? code : undefined;
}

function gcsError(address: string, error: unknown): TargetError {
  if (error instanceof TargetError) return error;
  const { message = '' } = error as { message?: string };
  const status = statusOf(error);
  if (status === 404)
    return new TargetError('missing', `cannot write ${address}: there is no such bucket`, error);
  const kind = status === 401 || status === 403 ? 'denied' : 'failed';
  return new TargetError(kind, `cannot write ${address}: ${message}`, error);
}
