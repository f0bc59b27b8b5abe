import { PassThrough } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  NoSuchKey,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { ObjectFile, type ObjectUpload } from './object-file.ts';
import { TargetError, type ExportTarget, type TargetFile } from './target.ts';

/** At most 10,000 parts: so much of a file is uploaded at once. An object has up to 156 GiB then. */
const PART_BYTES = 16 * 1024 * 1024;
/** parts under way at once: with those that wait some 64 MiB */
const PARTS_AT_ONCE = 2;

export interface BucketPlace {
  bucket: string;
  /** '' or a prefix that ends with / */
  prefix: string;
}

/**
 * A prefix of an S3 bucket. Region, credentials and endpoint are found as every AWS SDK does (AWS_REGION, AWS_PROFILE,
 * AWS_ENDPOINT_URL, …). Large files go in parts; an object is there once the upload is complete.
 */
export class S3Target implements ExportTarget {
  readonly #client: S3Client;
  readonly #place: BucketPlace;

  /** @param isPathStyle the bucket is part of the path, not of the host: for servers other than Amazon's */
  constructor(place: BucketPlace, { isPathStyle }: { isPathStyle: boolean }) {
    this.#client = new S3Client({
      forcePathStyle: isPathStyle,
      // other servers do not know the newer checksums
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      // the bucket's own is asked for where none is configured
      followRegionRedirects: true,
    });
    this.#place = place;
  }

  address(name: string): string {
    return `s3://${this.#place.bucket}/${this.#key(name)}`;
  }

  async create(name: string): Promise<TargetFile> {
    // a bucket that is not there should be said before the rows are read
    await this.#client.send(new HeadBucketCommand({ Bucket: this.#place.bucket })).catch((error: unknown) => {
      // to list a bucket may be forbidden where to write is not
      if (statusOf(error) !== 403) throw s3Error(this.address(name), error);
    });
    return new ObjectFile(uploadTo(this.#client, this.#place.bucket, this.#key(name), this.address(name)));
  }

  async read(name: string): Promise<Buffer | null> {
    try {
      const found = await this.#client.send(
        new GetObjectCommand({ Bucket: this.#place.bucket, Key: this.#key(name) }),
      );
      return Buffer.from((await found.Body?.transformToByteArray()) ?? []);
    } catch (error) {
      if (error instanceof NoSuchKey) return null;
      throw s3Error(this.address(name), error);
    }
  }

  hasOthers(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async remove(name: string): Promise<void> {
    try {
      await this.#client.send(new DeleteObjectCommand({ Bucket: this.#place.bucket, Key: this.#key(name) }));
    } catch (error) {
      throw s3Error(this.address(name), error);
    }
  }

  #key(name: string): string {
    return `${this.#place.prefix}${name}`;
  }
}

function uploadTo(client: S3Client, bucket: string, key: string, address: string): ObjectUpload {
  const body = new PassThrough({ highWaterMark: PART_BYTES });
  const upload = new Upload({
    client,
    params: { Bucket: bucket, Key: key, Body: body },
    partSize: PART_BYTES,
    queueSize: PARTS_AT_ONCE,
    leavePartsOnError: false,
  });
  body.on('error', () => {});
  return {
    body,
    done: upload.done(),
    abort: () => upload.abort(),
    remove: async () => void (await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }))),
    failure: (error) => s3Error(address, error),
  };
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
}

function s3Error(address: string, error: unknown): TargetError {
  if (error instanceof TargetError) return error;
  const { name = 'Error', message = '' } = error as { name?: string; message?: string };
  const status = statusOf(error);
  if (name === 'NoSuchBucket' || status === 404)
    return new TargetError('missing', `cannot write ${address}: there is no such bucket`, error);
  if (status === 403 || name === 'CredentialsProviderError')
    return new TargetError('denied', `cannot write ${address}: ${name}: ${message}`, error);
  return new TargetError('failed', `cannot write ${address}: ${name}: ${message}`, error);
}
