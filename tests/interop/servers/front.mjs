// HTTP in front of the gateway: suite → front → gateway → fixture. The conformance suite can only
// test what speaks HTTP, so this turns its requests into lines and lines into answers. What a message
// means is left to the gateway and the fixture; only what stdio cannot carry is judged here: headers,
// status codes, and which of several open streams a line belongs to.
//
// One gateway for each 2025-11-25 session, one for all 2026-07-28 traffic.
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { StdioPeer, modernMeta } from '../harness/gateway.mjs';

const META = 'io.modelcontextprotocol/';
const LIMIT_MS = 10_000;
const target = process.argv[2];

/** One gateway process and the HTTP exchanges that wait for it. */
class Line {
  exchanges = new Map();
  #questions = new Map();
  #unsent = [];
  #stream;
  #nextId = 1;

  constructor({ stateless }) {
    this.stateless = stateless;
    this.peer = new StdioPeer(target, {
      onMessage: (message) => this.#route(message),
      onRequest: ({ id }) => new Promise((resolve) => this.#questions.set(String(id), resolve)),
    });
  }

  /** One request and its answer. Ids are the front's own: several HTTP clients may use the same. */
  async exchange(body, response, headers = {}) {
    const id = this.#nextId++;
    const exchange = { id, body, events: undefined };
    exchange.push = (message) => {
      exchange.events ??= eventStream(response, headers);
      exchange.events(message);
    };
    this.exchanges.set(id, exchange);
    let answered = false;
    response.on('close', () => !answered && this.#abandon(exchange));
    const { id: _, jsonrpc: __, method, params } = body;
    const limitMs = method === 'subscriptions/listen' ? 120_000 : LIMIT_MS;
    const answer = await this.peer.ask(method, params, { id, limitMs }).catch(failure);
    answered = true;
    this.exchanges.delete(id);
    const message = restored({ ...answer, id: body.id }, exchange);
    const single = this.stateless && !exchange.events;
    if (single) return json(response, status(message), message, headers);
    exchange.push(message);
    return response.end();
  }

  #abandon(exchange) {
    this.exchanges.delete(exchange.id);
    this.peer.notify('notifications/cancelled', { requestId: exchange.id });
  }

  /** A notification or an answer of the HTTP client. */
  deliver(body) {
    const { id, method, params, result, error } = body;
    if (method === undefined) return this.#questions.get(String(id))?.(error ? { error } : { result });
    if (method !== 'notifications/cancelled') return this.peer.notify(method, params);
    const cancelled = this.#all().find((exchange) => exchange.body.id === params.requestId);
    return this.peer.notify(method, { ...params, requestId: cancelled?.id ?? params.requestId });
  }

  /** The session's GET stream. */
  open(response, headers) {
    this.#stream = eventStream(response, headers);
    response.flushHeaders();
    response.on('close', () => (this.#stream = undefined));
    this.#unsent.splice(0).forEach(this.#stream);
  }

  #all = () => [...this.exchanges.values()];

  /** The stream that a line belongs to is not said on stdio: by token or id, else the newest call's. */
  #route(message) {
    const { method, params = {} } = message;
    const subscription = params._meta?.[`${META}subscriptionId`];
    const exchange =
      this.#all().find(({ id, body }) => {
        const { progressToken } = body.params?._meta ?? {};
        if (method === 'notifications/progress') return progressToken === params.progressToken;
        if (method === 'notifications/cancelled') return id === params.requestId;
        return subscription !== undefined && String(subscription) === String(id);
      }) ?? (subscription === undefined ? this.#newest(method) : undefined);
    if (exchange) exchange.push(restored(message, exchange));
    else if (this.#stream) this.#stream(message);
    else this.#unsent.push(message);
  }

  #newest(method) {
    const calls = this.#all().filter(({ body }) => body.method !== 'subscriptions/listen');
    if (!this.stateless) return calls.at(-1);
    const logs = method === 'notifications/message';
    return logs ? calls.findLast(({ body }) => body.params?._meta?.[`${META}logLevel`]) : undefined;
  }
}

const revision = (body) => body.params?._meta?.[`${META}protocolVersion`];

const failure = (error) => ({
  jsonrpc: '2.0',
  error: { code: -32603, message: `front: ${error.message}` },
});

/** The id of a listen request stands in what its stream says: the client's, not the front's. */
function restored(message, exchange) {
  const key = `${META}subscriptionId`;
  const copy = structuredClone(message);
  for (const part of [copy.params, copy.result]) {
    if (part?._meta && key in part._meta) part._meta[key] = exchange.body.id;
  }
  return copy;
}

/** 2026-07-28 answers some errors with a status of their own. */
function status({ error }) {
  if (!error) return 200;
  if ([-32020, -32021, -32022].includes(error.code)) return 400;
  if (error.code === -32601) return 404;
  const envelope = /_meta|envelope|protocolVersion|clientInfo|clientCapabilities/;
  return error.code === -32602 && envelope.test(JSON.stringify(error)) ? 400 : 200;
}

function json(response, code, body, headers = {}) {
  response.writeHead(code, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function refuse(response, code, error, id = null) {
  json(response, code, { jsonrpc: '2.0', id, error });
}

function eventStream(response, headers) {
  response.writeHead(200, { 'content-type': 'text/event-stream', ...headers });
  return (message) => response.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
}

/** The headers of 2026-07-28 repeat the body; stdio has none, so they are checked where they end. */
function mismatch({ headers }, body) {
  const version = headers['mcp-protocol-version'];
  if (version === undefined) return 'MCP-Protocol-Version is missing';
  if (revision(body) !== undefined && revision(body) !== version) return 'MCP-Protocol-Version differs';
  if (headers['mcp-method'] !== body.method) return 'Mcp-Method differs';
  const { name, uri } = body.params ?? {};
  const named = { 'tools/call': name, 'prompts/get': name, 'resources/read': uri }[body.method];
  return named !== undefined && headers['mcp-name'] !== named ? 'Mcp-Name differs' : undefined;
}

const sessions = new Map();
let modern;

async function serve(request, response) {
  const id = request.headers['mcp-session-id'];
  const session = sessions.get(id);
  const headers = id === undefined ? {} : { 'mcp-session-id': id };
  const unknown = { code: -32001, message: 'session not found' };
  if (request.method === 'POST') return post(request, response, session, headers);
  if (!session) return refuse(response, id === undefined ? 405 : 404, unknown);
  if (request.method === 'GET') return session.open(response, headers);
  sessions.delete(id);
  response.writeHead(200).end();
  return session.peer.close();
}

async function post(request, response, session, headers) {
  const body = JSON.parse(Buffer.concat(await request.toArray()));
  if (session) {
    if (body.method !== undefined && body.id !== undefined) {
      return session.exchange(body, response, headers);
    }
    session.deliver(body);
    return response.writeHead(202).end();
  }
  if (body.method === 'initialize' && revision(body) === undefined) {
    const line = new Line({ stateless: false });
    const id = randomUUID();
    sessions.set(id, line);
    return line.exchange(body, response, { 'mcp-session-id': id });
  }
  const stateless = revision(body) !== undefined || request.headers['mcp-method'] !== undefined;
  if (!stateless) return refuse(response, 400, { code: -32000, message: 'session required' });
  if (body.id === undefined) return response.writeHead(202).end();
  const message = mismatch(request, body);
  if (message) return refuse(response, 400, { code: -32020, message }, body.id);
  modern ??= openModern();
  return (await modern).exchange(body, response);
}

/** The way hosts of 2026-07-28 begin: the probe tells both ends which era this pipe is of. */
async function openModern() {
  const line = new Line({ stateless: true });
  const params = { _meta: modernMeta('2026-07-28', {}) };
  await line.peer.request('server/discover', params, { id: 'front-probe' });
  return line;
}

const server = http.createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) refuse(response, 500, { code: -32603, message: error.message });
  });
});
server.listen(0, '127.0.0.1', () => {
  console.log(`front on http://127.0.0.1:${server.address().port}/mcp`);
});
