// What an MCP host saw: a tap on an SDK client's transport, below the SDK's own reading of it.
import { within } from './leg.mjs';

export class Tap {
  /** Every message that came in, in order. */
  seen = [];
  #waiting = [];

  /** Listens on `transport`; to be called before the client connects (the SDKs call both listeners). */
  constructor(transport) {
    transport.onmessage = (message) => {
      this.seen.push(message);
      this.#waiting = this.#waiting.filter((attempt) => !attempt());
    };
  }

  requests = (method) => this.seen.filter((m) => m.id !== undefined && m.method === method);
  notifications = (method) => this.seen.filter((m) => m.id === undefined && m.method === method);

  /** The first message after position `from` for which `test` holds, past or to come. */
  heard(test, { from = 0, limitMs = 8_000, what = 'message' } = {}) {
    const heard = new Promise((resolve) => {
      const attempt = () => {
        const message = this.seen.slice(from).find(test);
        if (message) resolve(message);
        return message !== undefined;
      };
      if (!attempt()) this.#waiting.push(attempt);
    });
    return within(limitMs, heard, what);
  }

  heardNotification(method, options = {}) {
    const test = (m) => m.method === method && m.id === undefined;
    return this.heard(test, { what: method, ...options });
  }
}

/** Ids and times that differ from one session to the next become words. */
export function scrub(value) {
  const plain = JSON.stringify(value, (_, inner) => (typeof inner === 'string' ? words(inner) : inner));
  return plain === undefined ? undefined : JSON.parse(plain);
}

function words(text) {
  return text
    .replace(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, '<uuid>')
    .replace(/\b[0-9a-f]{32}\b/g, '<hex id>')
    .replace(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>');
}

/** A call's outcome, result or error, as a value that can be compared. */
export async function outcome(promise) {
  try {
    return scrub({ result: await promise });
  } catch (error) {
    return scrub({ code: error.code, message: error.message, data: error.data });
  }
}
