import { ApiError } from '../api-error.ts';

/** One event of a stream of text/event-stream. */
export interface SseMessage {
  /** `message` where the stream does not say */
  event: string;
  /** its own; null: it has none */
  id: string | null;
  data: string;
}

/** What a server may send without an empty line, in characters: an event that never ends would fill the memory. */
const EVENT_CHARS_MAX = 16 * 1024 * 1024;

const CR = '\r'.charCodeAt(0);

/**
 * The event stream format of HTML (server-sent events), from bytes as they come, wherever they are cut: in a character, in
 * a line end, in an event. What was not ended by an empty line is no event.
 */
export class SseParser {
  /** the id to resume from: of the last event that was complete, which may have had no data */
  lastEventId: string | null = null;
  /** how long the server wants to be left alone after a cut, ms; null: it has not said */
  retryMs: number | null = null;
  readonly #decoder = new TextDecoder('utf-8');
  /** begins of a line whose end has not come */
  #pieces: string[] = [];
  #chars = 0;
  #endedInCr = false;
  #event = '';
  #id: string | null = null;
  #data: string[] = [];

  /** The events that these bytes complete. @throws ApiError bad_answer when one is too long */
  push(bytes: Uint8Array): SseMessage[] {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === '') return [];
    // the second half of a CR LF
    if (this.#endedInCr && text.startsWith('\n')) text = text.slice(1);
    const messages: SseMessage[] = [];
    const lineEnd = /\r\n|\n|\r/g;
    let from = 0;
    for (let end = lineEnd.exec(text); end !== null; end = lineEnd.exec(text)) {
      this.#take(this.#line(text.slice(from, end.index)), messages);
      from = lineEnd.lastIndex;
    }
    this.#endedInCr = text === '' ? false : text.charCodeAt(text.length - 1) === CR;
    if (from < text.length) this.#hold(text.slice(from));
    return messages;
  }

  #line(end: string): string {
    if (this.#pieces.length === 0) {
      this.#count(end);
      return end;
    }
    this.#hold(end);
    const line = this.#pieces.join('');
    this.#pieces = [];
    return line;
  }

  #hold(piece: string): void {
    this.#count(piece);
    this.#pieces.push(piece);
  }

  #count(piece: string): void {
    this.#chars += piece.length;
    if (this.#chars > EVENT_CHARS_MAX)
      throw new ApiError('bad_answer', `an event of the stream has more than ${EVENT_CHARS_MAX} characters`, {
        status: 200,
      });
  }

  #take(line: string, messages: SseMessage[]): void {
    if (line === '') {
      if (this.#data.length > 0)
        messages.push({
          event: this.#event === '' ? 'message' : this.#event,
          id: this.#id,
          data: this.#data.join('\n'),
        });
      this.lastEventId = this.#id ?? this.lastEventId;
      this.#event = '';
      this.#id = null;
      this.#data = [];
      this.#chars = 0;
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const rest = colon < 0 ? '' : line.slice(colon + 1);
    const value = rest.startsWith(' ') ? rest.slice(1) : rest;
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value);
    // comments and unknown fields are not kept, so they do not count
    else this.#chars -= line.length;
  }
}
