/** Absolute counts since the reader thread started; they only grow. */
export class ReaderCounts {
  frames = 0;
  bytes = 0;
  repeated = 0;
  resumed = 0;
  late = 0;
  unnumbered = 0;
  gaps = 0;
  pauses = 0;
}
