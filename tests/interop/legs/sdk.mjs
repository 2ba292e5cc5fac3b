// The official TypeScript SDK (v1) client over stdio → gateway → server-everything. Every answer is
// compared with the one that the same client gets over HTTP without the gateway.
import { gunzipSync } from 'node:zlib';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { StdioPeer, stdioParameters } from '../harness/gateway.mjs';
import { Tap, outcome, scrub } from '../harness/host.mjs';
import { assert, assertSame } from '../harness/leg.mjs';
import { startEverything } from '../servers/everything.mjs';

export const expected = 73;
export const limitMs = 120_000;

/** What the reference server offers, each asked as it stands. Names tell the checks apart. */
const ASKED = {
  'tools/list': ['tools/list', {}],
  'resources/list': ['resources/list', {}],
  'resources/templates/list': ['resources/templates/list', {}],
  'prompts/list': ['prompts/list', {}],
  ping: ['ping', undefined],
  'resource, text': ['resources/read', { uri: 'demo://resource/dynamic/text/1' }],
  'resource, blob': ['resources/read', { uri: 'demo://resource/dynamic/blob/2' }],
  'prompt without arguments': ['prompts/get', { name: 'simple-prompt' }],
  'prompt with arguments': [
    'prompts/get',
    { name: 'args-prompt', arguments: { city: 'Malmö', state: 'Skåne "län"' } },
  ],
  'prompt with an optional argument left out': [
    'prompts/get',
    { name: 'args-prompt', arguments: { city: 'Ōsaka' } },
  ],
  'prompt with an embedded resource': [
    'prompts/get',
    { name: 'resource-prompt', arguments: { resourceType: 'Blob', resourceId: '3' } },
  ],
  'prompt with completable arguments': [
    'prompts/get',
    { name: 'completable-prompt', arguments: { department: 'Sales', name: 'Eve' } },
  ],
  'completion of a prompt argument': [
    'completion/complete',
    {
      ref: { type: 'ref/prompt', name: 'completable-prompt' },
      argument: { name: 'department', value: 'E' },
    },
  ],
  'completion with context': [
    'completion/complete',
    {
      ref: { type: 'ref/prompt', name: 'completable-prompt' },
      argument: { name: 'name', value: '' },
      context: { arguments: { department: 'Support' } },
    },
  ],
  'completion of a resource template': [
    'completion/complete',
    {
      ref: { type: 'ref/resource', uri: 'demo://resource/dynamic/text/{resourceId}' },
      argument: { name: 'resourceId', value: '7' },
    },
  ],
  'logging/setLevel': ['logging/setLevel', { level: 'debug' }],
  'resources/subscribe': ['resources/subscribe', { uri: 'demo://resource/dynamic/text/1' }],
  'error: unknown method': ['no/such/method', {}],
  'error: unknown resource': ['resources/read', { uri: 'demo://nowhere/1' }],
  'error: unknown prompt': ['prompts/get', { name: 'no-such-prompt' }],
  'error: prompt without its argument': ['prompts/get', { name: 'args-prompt' }],
  'error: parameters of a wrong type': ['tools/call', { name: 7 }],
  'error: completion for nothing': [
    'completion/complete',
    { ref: { type: 'ref/prompt', name: 'nope' }, argument: { name: 'x', value: '' } },
  ],
  'error: level that does not exist': ['logging/setLevel', { level: 'loud' }],
  'error: task that does not exist': ['tasks/get', { taskId: 'no-such-task' }],
};

/** Every tool that answers by itself; those that ask back or notify have their own checks. */
const CALLED = {
  'echo': ['echo', { message: 'hello' }],
  'echo, controls, quotes, every plane of Unicode': [
    'echo',
    { message: 'åß 世界 🚀 \u2028\u2029 "q" \\ / \r\n\t\u0000\u001f\u007f \u{1f469}\u200d\u{1f4bb}' },
  ],
  'echo, empty': ['echo', { message: '' }],
  'get-sum': ['get-sum', { a: 2, b: 40 }],
  'get-sum, large and small': ['get-sum', { a: 1e21, b: -0.1 }],
  'get-annotated-message, error': ['get-annotated-message', { messageType: 'error' }],
  'get-annotated-message, debug with an image': [
    'get-annotated-message',
    { messageType: 'debug', includeImage: true },
  ],
  'get-env': ['get-env', {}],
  'get-resource-links': ['get-resource-links', { count: 10 }],
  'get-resource-reference, text': [
    'get-resource-reference',
    { resourceType: 'Text', resourceId: 5 },
  ],
  'get-resource-reference, blob': [
    'get-resource-reference',
    { resourceType: 'Blob', resourceId: 6 },
  ],
  'get-structured-content': ['get-structured-content', { location: 'Chicago' }],
  'get-tiny-image': ['get-tiny-image', {}],
  'gzip-file-as-resource, embedded': [
    'gzip-file-as-resource',
    { name: 'both.gz', data: 'data:text/plain,interop', outputType: 'resource' },
  ],
  'error: unknown tool': ['no-such-tool', {}],
  'error: missing argument': ['get-sum', { a: 1 }],
  'error: argument of a wrong type': ['get-sum', { a: 'x', b: {} }],
  'error: tool that throws': ['get-resource-reference', { resourceType: 'Text', resourceId: -1 }],
};

export async function run(leg) {
  const server = await startEverything();
  const direct = await connect(new StreamableHTTPClientTransport(new URL(server.url)));
  const bridged = await leg.check('initialize', () =>
    connect(new StdioClientTransport(stdioParameters(server.url))),
  );
  if (!bridged) return;
  const pair = { direct, bridged };

  await leg.check('server info, capabilities, instructions', async () => {
    const greeting = ({ client }) => ({
      info: client.getServerVersion(),
      capabilities: client.getServerCapabilities(),
      instructions: client.getInstructions(),
    });
    assertSame(greeting(bridged), greeting(direct));
  });
  await leg.check('roots/list asked on the GET stream', () =>
    bridged.tap.heard((m) => m.method === 'roots/list' && m.id !== undefined),
  );
  for (const [name, [method, params]] of Object.entries(ASKED)) {
    await leg.check(name, () => sameAnswer(pair, { method, params }));
  }
  for (const [tool, [name, args]] of Object.entries(CALLED)) {
    await leg.check(`tool ${tool}`, () => sameAnswer(pair, call(name, args)));
  }
  await leg.check('every listed resource', () => everyResource(pair));
  await askingBack(leg, pair);
  await notifying(leg, pair);
  await tasks(leg, pair);
  await load(leg, pair);
  await leg.check('nothing on offer was left out', () => nothingLeftOut(pair.bridged));
  await direct.client.close();
  await bridged.client.close();
  await ending(leg, server);
}

/** A connected client, what it is asked on the way, and a tap on all it hears. */
async function connect(transport) {
  const host = { tap: new Tap(transport), used: new Set(), elicited: 'accept' };
  const capabilities = {
    sampling: {},
    elicitation: { form: {}, url: {} },
    roots: { listChanged: true },
    tasks: { requests: { sampling: { createMessage: {} }, elicitation: { create: {} } } },
  };
  const clientInfo = { name: 'interop', version: '1.0.0' };
  host.client = new Client(clientInfo, { capabilities, taskStore: new InMemoryTaskStore() });
  const answering = (schema, answer) =>
    host.client.setRequestHandler(schema, async (request, extra) => {
      if (!request.params?.task) return answer(request.params);
      const task = await extra.taskStore.createTask({ ttl: extra.taskRequestedTtl });
      // Done once the server knows of it, so that it has something to poll for.
      setImmediate(() => {
        extra.taskStore.storeTaskResult(task.taskId, 'completed', answer(request.params));
      });
      return { task };
    });
  answering(CreateMessageRequestSchema, (params) => {
    const text = `sampled: ${params.messages[0].content.text}`;
    return { role: 'assistant', model: 'interop', content: { type: 'text', text } };
  });
  answering(ElicitRequestSchema, (params) => {
    if (host.elicited !== 'accept' || params.mode === 'url') return { action: host.elicited };
    const content = { name: 'Zoë', check: true, integer: 7, interpretation: 'comedy' };
    return { action: 'accept', content };
  });
  const roots = [{ uri: 'file:///srv/a%20b', name: 'räksmörgås' }];
  answering(ListRootsRequestSchema, () => ({ roots }));
  await host.client.connect(transport);
  return host;
}

const call = (name, args, more = {}) => ({
  method: 'tools/call',
  params: { name, arguments: args, ...more },
});

function ask({ client, used }, request, options) {
  used.add(request.params?.name);
  return client.request(request, z.any(), { timeout: 15_000, ...options });
}

async function nothingLeftOut(host) {
  const { tools } = await ask(host, { method: 'tools/list', params: {} });
  const { prompts } = await ask(host, { method: 'prompts/list', params: {} });
  const unused = [...tools, ...prompts].map(({ name }) => name).filter((n) => !host.used.has(n));
  assertSame(unused, [], 'tools and prompts that no check used');
}

/** Both hosts ask the same at the same time: one answer, and one set of questions on the way to it. */
async function sameAnswer({ direct, bridged }, request, asked = []) {
  const one = async (host) => {
    const ofBefore = new Set(host.tap.seen.filter((m) => m.method).map((m) => m.id));
    const from = host.tap.seen.length;
    const answer = await outcome(ask(host, request));
    const heard = host.tap.seen.slice(from).filter((m) => asked.includes(m.method));
    // By id: this server says old questions again on a stream that is resumed.
    const fresh = heard.filter((m) => !ofBefore.has(m.id));
    const questions = [...new Map(fresh.map((m) => [m.id, m])).values()];
    return { answer, questions: scrub(questions.map(({ method, params }) => ({ method, params }))) };
  };
  const [want, got] = await Promise.all([one(direct), one(bridged)]);
  assertSame(got, want, request.method);
  assert(got.questions.length >= asked.length, `the host was asked ${got.questions.length} times`);
  return got.answer;
}

async function everyResource(pair) {
  const { resources } = await ask(pair.bridged, { method: 'resources/list', params: {} });
  assert(resources.length >= 7, `only ${resources.length} resources`);
  for (const { uri } of resources.filter((r) => r.uri.startsWith('demo://resource/static/'))) {
    await sameAnswer(pair, { method: 'resources/read', params: { uri } });
  }
}

/** The server asks the host in the middle of a call. */
async function askingBack(leg, pair) {
  const elicit = async (action, request) => {
    pair.direct.elicited = pair.bridged.elicited = action;
    await sameAnswer(pair, request, ['elicitation/create']);
  };
  const url = call('trigger-url-elicitation', { url: 'https://example.org/', elicitationId: 'e1' });
  await leg.check('sampling', () =>
    sameAnswer(pair, call('trigger-sampling-request', { prompt: 'hi' }), [
      'sampling/createMessage',
    ]),
  );
  for (const action of ['decline', 'cancel', 'accept']) {
    const form = call('trigger-elicitation-request', {});
    await leg.check(`elicitation, form, ${action}`, () => elicit(action, form));
    await leg.check(`elicitation, url, ${action}`, () => elicit(action, url));
  }
  await leg.check('error: url elicitation required (-32042)', async () => {
    const params = { url: 'https://example.org/', errorPath: true };
    const answer = await sameAnswer(pair, call('trigger-url-elicitation', params));
    assertSame(answer.code, -32042, 'code');
  });
  await leg.check('roots as the server sees them', () =>
    sameAnswer(pair, call('get-roots-list', {})),
  );
  await leg.check('roots/list_changed makes the server ask again', async () => {
    const { client, tap } = pair.bridged;
    const from = tap.seen.length;
    await client.sendRootsListChanged();
    await tap.heard((m) => m.method === 'roots/list', { from, what: 'roots/list' });
  });
}

/** The server speaks outside of any call, or before the answer to one. */
async function notifying(leg, { bridged }) {
  const { tap } = bridged;
  const toggled = async (tool, method) => {
    const from = tap.seen.length;
    await ask(bridged, call(tool, {}));
    await tap.heardNotification(method, { from });
    await ask(bridged, call(tool, {}));
  };
  await leg.check('notifications/message', () =>
    toggled('toggle-simulated-logging', 'notifications/message'),
  );
  await leg.check('notifications/resources/updated', () =>
    toggled('toggle-subscriber-updates', 'notifications/resources/updated'),
  );
  await leg.check('resource made by a tool: link, list_changed, list, read', async () => {
    const from = tap.seen.length;
    const text = 'gzip me '.repeat(20);
    const args = { name: 'made.gz', data: `data:text/plain,${encodeURIComponent(text)}` };
    const { content } = await ask(bridged, call('gzip-file-as-resource', args));
    const { uri } = content[0];
    await tap.heardNotification('notifications/resources/list_changed', { from });
    const { resources } = await ask(bridged, { method: 'resources/list', params: {} });
    assert(resources.some((r) => r.uri === uri), `${uri} is not listed`);
    const { contents } = await ask(bridged, { method: 'resources/read', params: { uri } });
    assertSame(gunzipSync(Buffer.from(contents[0].blob, 'base64')).toString(), text, 'content');
  });
  await leg.check('resources/unsubscribe', () =>
    ask(bridged, {
      method: 'resources/unsubscribe',
      params: { uri: 'demo://resource/dynamic/text/1' },
    }),
  );
  await leg.check('progress: all, in order, as it happens, before the answer', async () => {
    const from = tap.seen.length;
    const long = call('trigger-long-running-operation', { duration: 0.6, steps: 3 });
    const answered = ask(bridged, long, { onprogress: () => {} });
    await tap.heardNotification('notifications/progress', { from });
    assert(!tap.seen.slice(from).some((m) => m.result), 'progress came with the answer only');
    await answered;
    const told = tap.seen.slice(from).filter((m) => m.params?.progress || m.result?.content);
    assertSame(told.map((m) => m.params?.progress ?? 'answer'), [1, 2, 3, 'answer'], 'order');
  });
  await leg.check('cancelled call: the session goes on, nothing comes for its id', async () => {
    const from = tap.seen.length;
    const stop = new AbortController();
    const long = call('trigger-long-running-operation', { duration: 0.5, steps: 1 });
    const options = { signal: stop.signal, onprogress: () => {} };
    const cancelled = ask(bridged, long, options).then(
      () => assert(false, 'the cancelled call was answered'),
      (error) => assert(/abort/i.test(error.message), error.message),
    );
    // A call later on the same pipe has been answered: the first is on its way by then.
    await ask(bridged, call('echo', { message: 'overtakes' }));
    stop.abort('aborted by the host');
    await cancelled;
    await ask(bridged, call('trigger-long-running-operation', { duration: 1, steps: 1 }));
    const answers = tap.seen.slice(from).filter((m) => m.result?.content);
    assert(answers.length === 2, `${answers.length} answers for two calls that were not cancelled`);
  });
}

/** The task extension of 2025-11-25, in both directions. */
async function tasks(leg, pair) {
  const research = (ambiguous) =>
    call('simulate-research-query', { topic: 'python', ambiguous }, { task: { ttl: 60_000 } });
  await leg.check('task: created, awaited with an elicitation on the way, listed', async () => {
    const one = async (host) => {
      const from = host.tap.seen.length;
      const created = await ask(host, research(true));
      const { taskId } = created.task;
      const result = await ask(host, { method: 'tasks/result', params: { taskId } });
      const status = await ask(host, { method: 'tasks/get', params: { taskId } });
      const questions = host.tap.seen.slice(from).filter((m) => m.method === 'elicitation/create');
      return scrub({ created, result, status, asked: questions.map((m) => m.params) });
    };
    const [want, got] = await Promise.all([one(pair.direct), one(pair.bridged)]);
    assertSame(got, want, 'task');
    assertSame(got.status.status, 'completed', 'status');
    assert(got.asked.length === 1, `elicited ${got.asked.length} times`);
    const { tasks: listed } = await ask(pair.bridged, { method: 'tasks/list', params: {} });
    assert(listed.length > 0, 'tasks/list is empty');
  });
  await leg.check('task: cancelled', async () => {
    const one = async (host) => {
      const { task } = await ask(host, research(false));
      const params = { taskId: task.taskId };
      const cancelled = await ask(host, { method: 'tasks/cancel', params });
      return scrub({ cancelled, again: await outcome(ask(host, { method: 'tasks/cancel', params })) });
    };
    const [want, got] = await Promise.all([one(pair.direct), one(pair.bridged)]);
    assertSame(got, want, 'tasks/cancel');
  });
  const asked = { sampling: ['sampling/createMessage'], elicitation: ['elicitation/create'] };
  for (const [kind, questions] of Object.entries(asked)) {
    const tool = call(`trigger-${kind}-request-async`, kind === 'sampling' ? { prompt: 'hi' } : {});
    await leg.check(`task on the host: ${kind}`, async () => {
      const polled = [...questions, 'tasks/get', 'tasks/result'];
      const answer = await sameAnswer(pair, tool, polled);
      assert(JSON.stringify(answer).includes('[COMPLETED]'), 'not completed');
    });
  }
}

async function load(leg, { bridged }) {
  const echo = (message) => ask(bridged, call('echo', { message }), { timeout: 30_000 });
  await leg.check('200 calls at once, each answer to its own', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => echo(`n${i}`)));
    answers.forEach((answer, i) => assertSame(answer.content[0].text, `Echo: n${i}`, `call ${i}`));
  });
  await leg.check('a slow call holds up no other', async () => {
    let slowEnded = false;
    const long = call('trigger-long-running-operation', { duration: 2, steps: 1 });
    const slow = ask(bridged, long).then(() => (slowEnded = true));
    for (let i = 0; i < 50; i += 1) await echo(`quick ${i}`);
    assert(!slowEnded, 'fifty quick calls took longer than the slow one');
    await slow;
  });
  await leg.check('3 MB of argument and answer', async () => {
    const message = 'aå世🚀'.repeat(300_000);
    const { content } = await echo(message);
    assert(content[0].text === `Echo: ${message}`, `came back with ${content[0].text.length} units`);
  });
}

/** How a host ends: stdin closed, nothing else. */
async function ending(leg, server) {
  await leg.check('stdin closed: the answer on its way still comes, exit code 0', async () => {
    const peer = new StdioPeer(server.url);
    await peer.initialize('2025-11-25');
    const long = { name: 'trigger-long-running-operation', arguments: { duration: 0.5, steps: 1 } };
    const answered = peer.request('tools/call', long);
    const end = await peer.close();
    assert((await answered).content, 'no answer');
    assertSame(end, { code: 0, signal: null }, 'exit');
    assertSame([...peer.garbage, ...peer.strays], [], 'stray output');
  });
  await leg.check('session deleted at the end', async () => {
    const peer = new StdioPeer(server.url);
    await peer.initialize('2025-11-25');
    await peer.request('ping', {});
    const session = [...server.program.output.matchAll(/Session initialized with ID: (\S+)/g)].at(-1)[1];
    await peer.close();
    await server.program.said(new RegExp(`termination request for session ${session}`), 3_000);
  });
}
