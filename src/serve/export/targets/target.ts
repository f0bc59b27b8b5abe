/** Where the files of an export go: a folder, or what stands for one in a bucket. Names are below it, with / between folders. */
export interface ExportTarget {
  /** of a name, as it is shown: a path, s3://bucket/key */
  address(name: string): string;
  /** Begins a file; nothing is seen of it before publish(). Rejects with TargetError. */
  create(name: string): Promise<TargetFile>;
  /** A small file; null where there is none. Rejects with TargetError. */
  read(name: string): Promise<Buffer | null>;
  /** Whether there is something that `names` do not name, hidden things apart: an export must not mix with it. */
  hasOthers(): Promise<boolean>;
  /** Idempotent. */
  remove(name: string): Promise<void>;
}

/** A file that is there whole or not at all. */
export interface TargetFile {
  /** One at a time. The memory is free once it resolves. Rejects with TargetError. */
  write(chunk: Uint8Array): Promise<void>;
  /** Everything is kept; what is seen of it is said by publish(). */
  finish(): Promise<void>;
  /** It replaces what had its name. */
  publish(): Promise<void>;
  /** Nothing is left of it. Never rejects. */
  discard(): Promise<void>;
}

/** Why nothing can be written, or read, there. */
export type TargetFailure = 'no_space' | 'denied' | 'missing' | 'in_the_way' | 'failed';

export class TargetError extends Error {
  override name = 'TargetError';
  readonly kind: TargetFailure;

  constructor(kind: TargetFailure, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}
