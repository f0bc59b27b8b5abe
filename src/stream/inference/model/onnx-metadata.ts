const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** fields of onnx.ModelProto and onnx.StringStringEntryProto */
const METADATA_PROPS = 14;
const KEY = 1;
const VALUE = 2;

/**
 * The metadata of an ONNX model: text by name. Its graph is skipped, not read.
 *
 * @throws RangeError when the bytes are no such model
 */
export function onnxMetadata(model: Uint8Array): Map<string, string> {
  const properties = new Map<string, string>();
  const decoder = new TextDecoder();
  for (const { number, content } of fieldsOf(model)) {
    if (number !== METADATA_PROPS || content === null) continue;
    let key = '';
    let value = '';
    for (const inner of fieldsOf(content)) {
      if (inner.content === null) continue;
      if (inner.number === KEY) key = decoder.decode(inner.content);
      if (inner.number === VALUE) value = decoder.decode(inner.content);
    }
    properties.set(key, value);
  }
  return properties;
}

/** The fields of a message; content: null for numbers. */
function* fieldsOf(message: Uint8Array): Generator<{ number: number; content: Uint8Array | null }> {
  let at = 0;
  /** exact below 2^53, and a length beyond is beyond the end anyway */
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      if (at >= message.length || factor > 2 ** 63) throw malformed();
      const byte = message[at];
      at += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    if (number === 0) throw malformed();
    let content: Uint8Array | null = null;
    switch (tag % 8) {
      case VARINT:
        varint();
        break;
      case FIXED64:
        at += 8;
        break;
      case BYTES: {
        const length = varint();
        content = message.subarray(at, at + length);
        at += length;
        break;
      }
      case FIXED32:
        at += 4;
        break;
      default:
        throw malformed();
    }
    if (at > message.length) throw malformed();
    yield { number, content };
  }
}

function malformed(): RangeError {
  return new RangeError('is not an ONNX model');
}
