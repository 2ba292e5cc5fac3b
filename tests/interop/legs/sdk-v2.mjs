// The official TypeScript SDK (v2) client over stdio → gateway → a server of both eras. What the
// client gets over HTTP without the gateway is what it must get through it.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { z } from 'zod';
import { StdioPeer, modernMeta, stdioParameters } from '../harness/gateway.mjs';
import { Tap, outcome } from '../harness/host.mjs';
import { assert, assertSame } from '../harness/leg.mjs';
import { startEverything } from '../servers/everything.mjs';
import { startFixture } from '../servers/start-fixture.mjs';

export const expected = 55;
export const limitMs = 120_000;

const NEWEST = '2026-07-28';
const call = (name, args = {}) => ({ method: 'tools/call', params: { name, arguments: args } });

/** Asked in either era; the answers differ between the eras, never between direct and bridged. */
const BOTH_ERAS = {
  'tools/list': { method: 'tools/list', params: {} },
  'prompts/list': { method: 'prompts/list', params: {} },
  'resources/list': { method: 'resources/list', params: {} },
  'resources/templates/list': { method: 'resources/templates/list', params: {} },
  'resource from a template': {
    method: 'resources/read',
    params: { uri: 'test://template/%C3%A5%20b/data' },
  },
  'binary resource': { method: 'resources/read', params: { uri: 'test://static-binary' } },
  'prompt': {
    method: 'prompts/get',
    params: { name: 'test_prompt_with_arguments', arguments: { arg1: 'å', arg2: '"' } },
  },
  'tool': call('test_multiple_content_types'),
  'tool that fails': call('test_error_handling'),
  'error: unknown tool': call('no such tool, wïth blanks'),
  'error: unknown resource': { method: 'resources/read', params: { uri: 'test://nowhere' } },
};

/** 2026-07-28 only: the client gives what an answer asks for, and asks again. */
const INPUT_REQUIRED = [
  'elicitation',
  'sampling',
  'list_roots',
  'request_state',
  'multiple_inputs',
  'multi_round',
  'capabilities',
].map((name) => call(`test_input_required_result_${name}`));

/** Arguments that the gateway must copy into Mcp-Param headers; the server refuses any that differs. */
const MIRRORED = {
  'plain': { region: 'us-west1', level: 7, dry: true },
  'absent': { region: 'eu' },
  'not ASCII': { region: 'Malmö 世界', level: -1 },
  'blanks at the edges, tab, line break': { region: ' \t edge\r\n' },
  'like the sentinel itself': { region: '=?base64?aGk=?=' },
  'empty, false, zero': { region: '', level: 0, dry: false },
};

export async function run(leg) {
  const fixture = await startFixture();
  await modern(leg, fixture);
  await legacy(leg, fixture);
  await oneProcess(leg, fixture);
  await fallback(leg);
}

async function connect(transport, mode) {
  const clientInfo = { name: 'interop', version: '2.0.0' };
  const capabilities = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } };
  const client = new Client(clientInfo, { capabilities, versionNegotiation: { mode } });
  const text = 'words';
  client.setRequestHandler('sampling/createMessage', async () => {
    return { role: 'assistant', model: 'interop', content: { type: 'text', text } };
  });
  client.setRequestHandler('elicitation/create', async ({ params }) => {
    const [[field, { type }]] = Object.entries(params.requestedSchema.properties);
    return { action: 'accept', content: { [field]: type === 'boolean' ? true : 'Zoë' } };
  });
  client.setRequestHandler('roots/list', async () => ({ roots: [{ uri: 'file:///srv' }] }));
  const tap = new Tap(transport);
  await client.connect(transport);
  return { client, tap };
}

const overStdio = (url, mode) => connect(new StdioClientTransport(stdioParameters(url)), mode);
const overHttp = (url, mode) =>
  connect(new StreamableHTTPClientTransport(new URL(url)), mode);

const ask = ({ client }, request, options) =>
  client.request(request, z.any(), { timeout: 15_000, ...options });

async function sameAnswer({ direct, bridged }, request) {
  const [want, got] = await Promise.all([
    outcome(ask(direct, request)),
    outcome(ask(bridged, request)),
  ]);
  assertSame(got, want, request.method);
  return got;
}

async function modern(leg, { program, url }) {
  const direct = await overHttp(url, 'auto');
  const bridged = await leg.check('auto: connects', () => overStdio(url, 'auto'));
  if (!bridged) return;
  const pair = { direct, bridged };
  await leg.check('auto: the newest era, as discovered directly', async () => {
    assertSame(bridged.client.getNegotiatedProtocolVersion(), NEWEST, 'version');
    assertSame(bridged.client.getDiscoverResult(), direct.client.getDiscoverResult(), 'discover');
  });
  for (const [name, request] of Object.entries(BOTH_ERAS)) {
    await leg.check(`${NEWEST}: ${name}`, () => sameAnswer(pair, request));
  }
  for (const request of INPUT_REQUIRED) {
    await leg.check(`${NEWEST}: ${request.params.name}`, async () => {
      const answer = await sameAnswer(pair, request);
      assert(answer.result?.content, JSON.stringify(answer));
    });
  }
  await leg.check(`${NEWEST}: prompt that asks for input`, () =>
    sameAnswer(pair, {
      method: 'prompts/get',
      params: { name: 'test_input_required_result_prompt' },
    }),
  );
  for (const [name, args] of Object.entries(MIRRORED)) {
    await leg.check(`${NEWEST}: arguments in headers, ${name}`, async () => {
      const { content } = await ask(bridged, call('headers', args));
      assertSame(JSON.parse(content[0].text), args, 'arguments');
    });
  }
  await leg.check(`${NEWEST}: arguments in headers of a tool not listed before`, async () => {
    const peer = new StdioPeer(url);
    const _meta = modernMeta(NEWEST, {});
    const params = { name: 'headers', arguments: { region: 'ö', level: 3 }, _meta };
    const { content } = await peer.request('tools/call', params);
    assertSame(JSON.parse(content[0].text), params.arguments, 'arguments');
    await peer.close();
  });
  await progressAndLoad(leg, NEWEST, bridged);
  await cancelling(leg, NEWEST, bridged, program);
  await subscribing(leg, bridged);
  await leg.check(`${NEWEST}: log messages for who asks for a level`, async () => {
    const from = bridged.tap.seen.length;
    const _meta = { 'io.modelcontextprotocol/logLevel': 'debug' };
    const request = call('test_logging_tool');
    await ask(bridged, { ...request, params: { ...request.params, _meta } });
    await bridged.tap.heardNotification('notifications/message', { from });
  });
  await Promise.all([direct.client.close(), bridged.client.close()]);
}

async function legacy(leg, { program, url }) {
  const direct = await overHttp(url, 'legacy');
  const bridged = await leg.check('legacy: connects', () => overStdio(url, 'legacy'));
  if (!bridged) return;
  const pair = { direct, bridged };
  for (const [name, request] of Object.entries(BOTH_ERAS)) {
    await leg.check(`2025-11-25: ${name}`, () => sameAnswer(pair, request));
  }
  await leg.check('2025-11-25: the server samples and elicits in a call', async () => {
    await sameAnswer(pair, call('test_sampling', { prompt: 'hi' }));
    await sameAnswer(pair, call('test_elicitation', { message: 'who?' }));
  });
  await leg.check('2025-11-25: a stream that the server cuts is resumed', () =>
    sameAnswer(pair, call('test_reconnection')),
  );
  await progressAndLoad(leg, '2025-11-25', bridged);
  await cancelling(leg, '2025-11-25', bridged, program);
  await leg.check('2025-11-25: a lost session is opened anew and the call sent again', async () => {
    await ask(bridged, call('forget_session'));
    const { content } = await ask(bridged, call('test_simple_text'));
    assert(content[0].text.startsWith('This is'), JSON.stringify(content));
  });
  await Promise.all([direct.client.close(), bridged.client.close()]);
}

async function progressAndLoad(leg, era, host) {
  const { tap } = host;
  await leg.check(`${era}: progress comes in order, before the answer`, async () => {
    const from = tap.seen.length;
    await ask(host, call('test_tool_with_progress'), { onprogress: () => {} });
    const told = tap.seen.slice(from).filter((m) => m.params?.total || m.result?.content);
    assertSame(told.map((m) => m.params?.progress ?? 'answer'), [0, 50, 100, 'answer'], 'order');
  });
  await leg.check(`${era}: 100 calls that end in the opposite order`, async () => {
    const calls = Array.from({ length: 100 }, async (_, i) => {
      const { content } = await ask(host, call('slow', { ms: 300 - 3 * i, tag: `n${i}` }));
      assertSame(content[0].text, `slow n${i}`, `call ${i}`);
    });
    await Promise.all(calls);
  });
  await leg.check(`${era}: an answer of 8 MB`, async () => {
    const { content } = await ask(host, call('big', { bytes: 8_000_000 }));
    assert(content[0].text === '0123456789abcdef'.repeat(500_000), 'not what was sent');
  });
}

async function cancelling(leg, era, host, program) {
  await leg.check(`${era}: a cancelled call ends at the server, nothing comes for it`, async () => {
    const tag = `cancel-${era}`;
    const stop = new AbortController();
    const from = host.tap.seen.length;
    const cancelled = outcome(
      ask(host, call('slow', { ms: 10_000, tag }), { signal: stop.signal }),
    );
    await program.said(new RegExp(`began ${tag}`));
    stop.abort('no longer wanted');
    await program.said(new RegExp(`cancelled ${tag}`), 3_000);
    assert((await cancelled).result === undefined, 'the cancelled call was answered');
    await ask(host, call('test_simple_text'));
    const answers = host.tap.seen.slice(from).filter((m) => m.method === undefined);
    assertSame(answers.length, 1, 'answers');
  });
}

async function subscribing(leg, host) {
  await leg.check(`${NEWEST}: subscription: told, then closed, then silent`, async () => {
    const { client, tap } = host;
    const subscription = await client.listen({ toolsListChanged: true, promptsListChanged: true });
    assertSame(subscription.honoredFilter.toolsListChanged, true, 'filter');
    const changed = { tool: 'tools', prompt: 'prompts' };
    for (const [tool, what] of Object.entries(changed)) {
      const from = tap.seen.length;
      await ask(host, call(`test_trigger_${tool}_change`));
      await tap.heardNotification(`notifications/${what}/list_changed`, { from });
    }
    await subscription.close();
    assertSame(await subscription.closed, 'local', 'closed by');
    const from = tap.seen.length;
    await ask(host, call('test_trigger_tool_change'));
    await ask(host, call('slow', { ms: 100, tag: 'after the subscription' }));
    const late = tap.seen.slice(from).filter((m) => m.method);
    assertSame(late, [], 'told after the end');
  });
}

/** Hosts mix eras while they find out which one a server speaks. */
async function oneProcess(leg, { url }) {
  await leg.check('both eras in one process, interleaved', async () => {
    const peer = new StdioPeer(url);
    const _meta = modernMeta(NEWEST, {});
    await peer.request('server/discover', { _meta });
    await peer.initialize('2025-11-25');
    const rounds = Array.from({ length: 20 }, (_, i) => {
      const params = { name: 'slow', arguments: { ms: 20, tag: `r${i}` } };
      return [
        peer.request('tools/call', params, { id: `legacy-${i}` }),
        peer.request('tools/call', { ...params, _meta }, { id: i + 1000 }),
      ];
    });
    for (const [i, answer] of (await Promise.all(rounds.flat())).entries()) {
      assertSame(answer.content[0].text, `slow r${Math.floor(i / 2)}`, 'answer');
    }
    const end = await peer.close();
    assertSame({ end, strays: peer.strays, garbage: peer.garbage }, {
      end: { code: 0, signal: null },
      strays: [],
      garbage: [],
    });
  });
}

async function fallback(leg) {
  const { url } = await startEverything();
  await leg.check('auto: falls back on a 2025-11-25 server within 5 s', async () => {
    const host = await overStdio(url, 'auto');
    assertSame(host.client.getProtocolEra(), 'legacy', 'era');
    const { content } = await ask(host, call('echo', { message: 'old' }));
    assertSame(content[0].text, 'Echo: old', 'answer');
    await host.client.close();
  }, 5_000);
}
