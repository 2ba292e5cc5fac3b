// The program under test, and a peer that speaks raw lines to it.
import { within } from './leg.mjs';
import { Program, cleanEnv } from './process.mjs';

export const binary = process.env.AEROSTACK_GATEWAY_BIN;

/** No workspace token: the gateway must add nothing of its own to what a plain server says. */
export const settings = (url) => ({
  AEROSTACK_WORKSPACE_URL: url,
  AEROSTACK_TOKEN: 'interop-plain-token',
});

/** For the SDKs' stdio transports, which start the gateway themselves. */
export const stdioParameters = (url) => ({
  command: binary,
  args: [],
  env: cleanEnv(settings(url)),
  stderr: 'ignore',
});

/** A host of our own: one JSON-RPC message per line, answers matched by id, nothing interpreted. */
export class StdioPeer {
  /** Lines that were no JSON, and answers that nobody had asked for: both must stay empty. */
  garbage = [];
  strays = [];
  #pending = new Map();
  #nextId = 1;

  /** `onMessage` sees what the server says; `onRequest` answers it, `{result}` or `{error}`. */
  constructor(url, { onRequest = () => undefined, onMessage = () => {} } = {}) {
    this.onRequest = onRequest;
    this.onMessage = onMessage;
    let tail = '';
    const onStdout = (text) => {
      const lines = (tail + text).split('\n');
      tail = lines.pop();
      lines.forEach((line) => this.#take(line));
    };
    this.program = new Program(binary, [], { env: settings(url), stdin: 'pipe', onStdout });
    this.program.ended.then(() => {
      for (const wait of this.#pending.values()) wait.reject(new Error(this.#epitaph()));
    });
  }

  #epitaph() {
    return `the gateway ended with ${JSON.stringify(this.program.end)}`;
  }

  #take(line) {
    let message;
    try {
      message = JSON.parse(line);
    } catch {
      this.garbage.push(line);
      return;
    }
    if (message.method === undefined) {
      const wait = this.#pending.get(JSON.stringify(message.id));
      this.#pending.delete(JSON.stringify(message.id));
      if (wait) wait.resolve(message);
      else this.strays.push(message);
      return;
    }
    this.onMessage(message);
    if (message.id !== undefined) this.#answer(message);
  }

  async #answer(message) {
    const unknown = { error: { code: -32601, message: 'Method not found' } };
    this.send({ jsonrpc: '2.0', id: message.id, ...((await this.onRequest(message)) ?? unknown) });
  }

  send(message) {
    this.program.child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  notify(method, params) {
    this.send({ jsonrpc: '2.0', method, params });
  }

  /** Resolves with the whole answer, result or error. */
  ask(method, params, { id = this.#nextId++, limitMs = 15_000 } = {}) {
    if (this.program.end) return Promise.reject(new Error(this.#epitaph()));
    const answer = new Promise((resolve, reject) => {
      this.#pending.set(JSON.stringify(id), { resolve, reject });
    });
    this.send({ jsonrpc: '2.0', id, method, params });
    return within(limitMs, answer, `answer to ${method}`);
  }

  async request(method, params, options) {
    const { result, error } = await this.ask(method, params, options);
    if (error) throw Object.assign(new Error(`${method}: ${error.code} ${error.message}`), { error });
    return result;
  }

  async initialize(protocolVersion, capabilities = {}) {
    const clientInfo = { name: 'interop', version: '1.0.0' };
    const params = { protocolVersion, capabilities, clientInfo };
    const result = await this.request('initialize', params);
    this.notify('notifications/initialized');
    return result;
  }

  /** Closes stdin, as hosts do at their end, and says how the gateway took it. */
  async close(limitMs = 5_000) {
    this.program.child.stdin.end();
    try {
      return await within(limitMs, this.program.ended, 'exit after stdin closed');
    } finally {
      await this.program.stop(0);
    }
  }
}

const KEY = 'io.modelcontextprotocol/';

/** The `_meta` that every 2026-07-28 request carries. */
export const modernMeta = (version, capabilities) => ({
  [`${KEY}protocolVersion`]: version,
  [`${KEY}clientInfo`]: { name: 'interop', version: '1.0.0' },
  [`${KEY}clientCapabilities`]: capabilities,
});
