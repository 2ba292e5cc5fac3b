// A server of both eras on one endpoint, made with the official packages: sessions, GET stream and
// resumption for 2025-11-25, stateless requests and subscriptions for 2026-07-28.
//
// Listens on a free port of 127.0.0.1 and says where. `slow` calls are told on stdout as they begin and
// are cancelled.
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node';
import {
  classifyInboundRequest,
  createMcpHandler,
  isInitializeRequest,
} from '@modelcontextprotocol/server';
import { offer } from './offer.mjs';

const sessions = new Map();
const world = {
  log: (line) => console.log(line),
  changed: () => modern.notify,
  forget: (ctx) => sessions.delete(ctx.sessionId),
  cutStream: (ctx) => sessions.get(ctx.sessionId)?.closeSSEStream(ctx.mcpReq.id),
};
const modern = createMcpHandler(() => offer(world), { maxRequestBodySize: 64 << 20 });
const serveModern = toNodeHandler(modern);

const server = http.createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) refuse(response, 500, -32603, 'internal error');
  });
});
server.listen(0, '127.0.0.1', () => {
  console.log(`fixture on http://127.0.0.1:${server.address().port}/mcp`);
});

async function serve(request, response) {
  const chunks = await request.toArray();
  const body = request.method === 'POST' ? JSON.parse(Buffer.concat(chunks)) : undefined;
  if (body && era(request, body) !== 'legacy') return serveModern(request, response, body);

  const id = request.headers['mcp-session-id'];
  if (id !== undefined && !sessions.has(id)) {
    return refuse(response, 404, -32001, 'session not found');
  }
  const opening = id === undefined && isInitializeRequest(body);
  const transport = opening ? await openSession() : sessions.get(id);
  if (!transport) return refuse(response, 400, -32000, 'session required');
  return transport.handleRequest(request, response, body);
}

const era = ({ headers }, body) =>
  classifyInboundRequest({
    httpMethod: 'POST',
    protocolVersionHeader: headers['mcp-protocol-version'],
    mcpMethodHeader: headers['mcp-method'],
    body,
  }).kind;

async function openSession() {
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventStore(),
    retryInterval: 300,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await offer(world).connect(transport);
  return transport;
}

/** What a stream said, so that a host that lost it can have the rest. */
function eventStore() {
  const events = [];
  return {
    async storeEvent(stream, message) {
      return String(events.push({ stream, message }));
    },
    async replayEventsAfter(lastId, { send }) {
      const { stream } = events[lastId - 1];
      for (let index = Number(lastId); index < events.length; index += 1) {
        const event = events[index];
        // A priming event has no message: it only carries an id.
        const said = event.stream === stream && Object.keys(event.message ?? {}).length > 0;
        if (said) await send(String(index + 1), event.message);
      }
      return stream;
    },
  };
}

function refuse(response, status, code, message) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
}
