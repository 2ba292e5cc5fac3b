// The "client under test" of the official conformance suite: it starts us with its server's URL, and we
// drive the gateway against it with raw lines, so that only the gateway decides what goes out over HTTP.
import { StdioPeer, modernMeta } from '../harness/gateway.mjs';

const url = process.argv.at(-1);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const asked = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const UNSUPPORTED_VERSION = -32022;

let version = asked;
const modern = asked >= '2026-07-28';
const capabilities = { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} };
const peer = new StdioPeer(url, {
  onRequest({ method, params }) {
    if (method === 'ping') return { result: {} };
    if (method !== 'elicitation/create') return undefined;
    return { result: { action: 'accept', content: defaults(params.requestedSchema) } };
  },
});

function defaults({ properties = {} }) {
  const given = Object.entries(properties).filter(([, property]) => 'default' in property);
  return Object.fromEntries(given.map(([name, property]) => [name, property.default]));
}

/** A request in the era under test; a server that knows another revision is asked again in that one. */
async function request(method, params = {}) {
  if (!modern) return peer.request(method, params);
  const enveloped = () => ({ ...params, _meta: modernMeta(version, capabilities) });
  const answer = await peer.ask(method, enveloped());
  const supported = answer.error?.data?.supported ?? [];
  if (answer.error?.code === UNSUPPORTED_VERSION && supported.includes('2026-07-28')) {
    version = '2026-07-28';
    return peer.request(method, enveloped());
  }
  if (answer.error) throw new Error(`${method}: ${JSON.stringify(answer.error)}`);
  return answer.result;
}

const call = (name, args = {}, more = {}) =>
  request('tools/call', { name, arguments: args, ...more });

/** What a host does in each scenario once the tools are listed. */
const PLAYS = {
  'initialize': async () => {},
  'request-metadata': async () => {},
  'json-schema-ref-no-deref': async () => {},
  'tools_call': async ([tool]) => call(tool.name, { a: 5, b: 3 }),
  'elicitation-sep1034-client-defaults': async () => call('test_client_elicitation_defaults'),
  'sse-retry': async () => call('test_reconnection'),
  'json-schema-2020-12-preservation': async (tools) => {
    const { inputSchema } = tools.find(({ name }) => name === 'json_schema_2020_12_tool');
    await call('json_schema_echo', { schema: inputSchema });
  },
  'http-standard-headers': async ([tool]) => {
    await call(tool.name);
    const { resources } = await request('resources/list');
    await request('resources/read', { uri: resources[0].uri });
    const { prompts } = await request('prompts/list');
    await request('prompts/get', { name: prompts[0].name, arguments: {} });
  },
  'http-custom-headers': async () => {
    for (const { name, arguments: args } of context.toolCalls) await call(name, args);
  },
  // Whatever tool is still listed is called; the suite counts the ones that should not be.
  'http-invalid-tool-headers': async (tools) => {
    for (const { name } of tools) await call(name, { region: 'us-west1' }).catch(() => {});
  },
  'sep-2322-client-request-state': async () => {
    await callWithInput('test_mrtr_echo_state', () => call('test_mrtr_unrelated'));
    for (const name of ['test_mrtr_no_state', 'test_mrtr_no_result_type']) {
      await callWithInput(name);
      await call('test_mrtr_unrelated');
    }
  },
};

/** Gives what the tool says it needs, until it needs nothing more. */
async function callWithInput(name, meanwhile = async () => {}) {
  let result = await call(name);
  await meanwhile();
  for (let round = 0; result.resultType === 'input_required' && round < 3; round += 1) {
    const answers = Object.entries(result.inputRequests ?? {}).map(([key]) => [
      key,
      { action: 'accept', content: { confirmed: true } },
    ]);
    const { requestState } = result;
    const more = { inputResponses: Object.fromEntries(answers) };
    result = await call(name, {}, requestState === undefined ? more : { ...more, requestState });
  }
}

async function play() {
  const act = PLAYS[scenario];
  if (!act) throw new Error('no play for this scenario');
  if (modern) await request('server/discover').catch(() => {});
  else await peer.initialize(version, capabilities);
  // A server may have no tools at all: then the play goes without.
  const { tools } = await request('tools/list').catch(() => ({ tools: [] }));
  await act(tools);
}

let fault;
await play().catch((error) => (fault = error));
const end = await peer.close().catch((error) => ({ late: error.message }));
const untidy = { garbage: peer.garbage, strays: peer.strays, end };
if (end.code !== 0 || peer.garbage.length + peer.strays.length > 0) {
  fault ??= new Error(JSON.stringify(untidy));
}
if (fault) {
  console.error(`driver: ${fault.message}\n${peer.program.output.slice(-800)}`);
  process.exit(1);
}
