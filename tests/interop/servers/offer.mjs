// What the fixture server offers: the tools, resources and prompts that the official conformance suite
// asks of a server under test, and a few of our own (`ownTools`).
import { randomUUID, webcrypto } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  CLIENT_CAPABILITIES_META_KEY,
  McpServer,
  ResourceTemplate,
  acceptedContent,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
} from '@modelcontextprotocol/server';

const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';

const say = (text) => ({ content: [{ type: 'text', text }] });
const schema = (properties = {}, required = []) =>
  fromJsonSchema({ type: 'object', properties, required });
const string = { type: 'string' };

/** Seals `requestState`, so that a tampered one is refused before a tool sees it. */
const seal = createRequestStateCodec({ key: webcrypto.getRandomValues(new Uint8Array(32)) });

/** One server instance. `world` is what tools reach beyond it: output, subscribers, sessions, streams. */
export function offer(world) {
  const server = new McpServer(
    { name: 'interop-fixture', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        prompts: { listChanged: true },
        logging: {},
        completions: {},
      },
      instructions: 'A fixture: nothing here has an effect.',
      requestState: { verify: seal.verify },
    },
  );
  const tool = (name, inputSchema, answer) =>
    server.registerTool(name, { description: `Fixture: ${name}`, inputSchema }, answer);

  for (const [name, content] of Object.entries(CONTENT)) {
    tool(name, schema(), async () => ({ content }));
  }
  notifyingTools(tool, world);
  askingTools(tool);
  inputRequiredTools(tool);
  schemaTools(tool);
  ownTools(tool, world);
  resources(server);
  prompts(server);
  return server;
}

const embedded = (uri, mimeType, text) => ({
  type: 'resource',
  resource: { uri, mimeType, text },
});
const image = { type: 'image', data: PNG, mimeType: 'image/png' };

/** Tools whose answer never changes. */
const CONTENT = {
  test_simple_text: [{ type: 'text', text: 'This is a simple text response for testing.' }],
  test_image_content: [image],
  test_audio_content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }],
  test_embedded_resource: [
    embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
  ],
  test_multiple_content_types: [
    { type: 'text', text: 'Multiple content types test:' },
    image,
    embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
  ],
};

function notifyingTools(tool, world) {
  tool('test_error_handling', schema(), async () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  tool('test_tool_with_logging', schema(), async (_, ctx) => {
    for (const data of ['started', 'processing data', 'completed']) {
      const params = { level: 'info', data: `Tool ${data}` };
      await ctx.mcpReq.notify({ method: 'notifications/message', params });
      await delay(20);
    }
    return say('logged');
  });
  tool('test_logging_tool', schema(), async (_, ctx) => {
    await ctx.mcpReq.log('info', 'sent only to who asked for this level');
    return say('logged');
  });
  tool('test_tool_with_progress', schema(), async (_, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      const params = { progressToken, progress, total: 100, message: `at ${progress}` };
      await ctx.mcpReq.notify({ method: 'notifications/progress', params });
      await delay(20);
    }
    return say('progressed');
  });
  tool('test_reconnection', schema(), async (_, ctx) => {
    world.cutStream(ctx);
    await delay(50);
    return say('answered after the stream was cut');
  });
  tool('test_streaming_elicitation', schema(), async () => say('nothing to ask'));
  tool('test_trigger_tool_change', schema(), async () => {
    world.changed()?.toolsChanged();
    return say('tools changed');
  });
  tool('test_trigger_prompt_change', schema(), async () => {
    world.changed()?.promptsChanged();
    return say('prompts changed');
  });
}

/** 2025-11-25: the server sends a request of its own in the middle of the call. */
function askingTools(tool) {
  const ask = (ctx, method, params) =>
    ctx.mcpReq.send({ method, params }).catch((error) => ({ failed: error.message }));
  tool('test_sampling', schema({ prompt: string }, ['prompt']), async ({ prompt }, ctx) => {
    const messages = [{ role: 'user', content: { type: 'text', text: prompt } }];
    const answer = await ask(ctx, 'sampling/createMessage', { messages, maxTokens: 100 });
    return say(`LLM response: ${answer.content?.text ?? JSON.stringify(answer)}`);
  });
  const elicit = async (ctx, message, properties, required = []) => {
    const requestedSchema = { type: 'object', properties, required };
    const answer = await ask(ctx, 'elicitation/create', { message, requestedSchema });
    return say(`Elicitation: action=${answer.action}, content=${JSON.stringify(answer.content)}`);
  };
  tool('test_elicitation', schema({ message: string }, ['message']), ({ message }, ctx) =>
    elicit(ctx, message, { response: string }, ['response']),
  );
  tool('test_elicitation_sep1034_defaults', schema(), (_, ctx) =>
    elicit(ctx, 'Are these right?', {
      name: { type: 'string', default: 'John Doe' },
      age: { type: 'integer', default: 30 },
      score: { type: 'number', default: 95.5 },
      status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
      verified: { type: 'boolean', default: true },
    }),
  );
  const choices = [1, 2, 3].map((n) => ({ const: `value${n}`, title: `Choice ${n}` }));
  const plain = ['option1', 'option2', 'option3'];
  tool('test_elicitation_sep1330_enums', schema(), (_, ctx) =>
    elicit(ctx, 'Choose', {
      untitledSingle: { type: 'string', enum: plain },
      titledSingle: { type: 'string', oneOf: choices },
      legacyEnum: { type: 'string', enum: ['opt1', 'opt2'], enumNames: ['First', 'Second'] },
      untitledMulti: { type: 'array', items: { type: 'string', enum: plain } },
      titledMulti: { type: 'array', items: { anyOf: choices } },
    }),
  );
}

const wantName = (field = 'name', type = 'string') =>
  inputRequired.elicit({
    message: `Your ${field}?`,
    requestedSchema: { type: 'object', properties: { [field]: { type } }, required: [field] },
  });
const wantWords = (text) =>
  inputRequired.createMessage({
    messages: [{ role: 'user', content: { type: 'text', text } }],
    maxTokens: 50,
  });

/** 2026-07-28: the answer says what is missing, and the host asks again with it. */
function inputRequiredTools(tool) {
  const named = (suffix, answer) => tool(`test_input_required_result_${suffix}`, schema(), answer);
  const given = (ctx, key) => ctx.mcpReq.inputResponses?.[key];
  const accepted = (ctx, key, field) => acceptedContent(ctx.mcpReq.inputResponses, key)?.[field];
  const want = (inputRequests) => inputRequired({ inputRequests });
  const wantWith = async (inputRequests, state) =>
    inputRequired({
      inputRequests,
      requestState: await seal.mint({ ...state, nonce: randomUUID() }),
    });

  tool('test_missing_capability', schema(), async (_, ctx) =>
    given(ctx, 'words') ? say('done') : want({ words: wantWords('anything') }),
  );
  named('elicitation', async (_, ctx) => {
    const name = accepted(ctx, 'user_name', 'name');
    return name === undefined ? want({ user_name: wantName() }) : say(`Hello, ${name}!`);
  });
  named('sampling', async (_, ctx) => {
    const answer = given(ctx, 'capital_question');
    if (!answer) return want({ capital_question: wantWords('What is the capital of France?') });
    return say(`The model says: ${answer.content?.text}`);
  });
  named('list_roots', async (_, ctx) => {
    const roots = given(ctx, 'client_roots')?.roots;
    return roots
      ? say(`${roots.length} roots`)
      : want({ client_roots: inputRequired.listRoots() });
  });
  for (const suffix of ['request_state', 'tampered_state']) {
    named(suffix, async (_, ctx) => {
      const confirmed = accepted(ctx, 'confirm', 'ok') !== undefined;
      return confirmed && ctx.mcpReq.requestState()
        ? say('state-ok: the state came back as it was')
        : wantWith({ confirm: wantName('ok', 'boolean') }, { of: suffix });
    });
  }
  named('multiple_inputs', async (_, ctx) => {
    const name = accepted(ctx, 'user_name', 'name');
    const roots = given(ctx, 'client_roots')?.roots;
    const greeting = given(ctx, 'greeting')?.content?.text;
    if (name !== undefined && roots && greeting !== undefined) {
      return say(`${greeting}, ${name}, of ${roots.length} roots`);
    }
    const everything = {
      user_name: wantName(),
      greeting: wantWords('Greet someone'),
      client_roots: inputRequired.listRoots(),
    };
    return wantWith(everything, { of: 'multiple_inputs' });
  });
  named('multi_round', async (_, ctx) => {
    const state = ctx.mcpReq.requestState();
    if (state?.round === undefined) return wantWith({ step1: wantName() }, { round: 1 });
    if (state.round === 1) {
      const name = accepted(ctx, 'step1', 'name') ?? 'nobody';
      return wantWith({ step2: wantName('color') }, { round: 2, name });
    }
    return say(`${state.name} likes ${accepted(ctx, 'step2', 'color')}`);
  });
  named('capabilities', async (_, ctx) => {
    if (ctx.mcpReq.inputResponses) return say('thank you');
    const can = ctx.mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
    const wanted = {
      ...(can.elicitation && { user_name: wantName() }),
      ...(can.sampling && { greeting: wantWords('Greet someone') }),
      ...(can.roots && { client_roots: inputRequired.listRoots() }),
    };
    return Object.keys(wanted).length ? want(wanted) : say('nothing that you could be asked');
  });
}

function schemaTools(tool) {
  const address = {
    $anchor: 'addressDef',
    type: 'object',
    properties: { street: string, city: string },
  };
  const full = fromJsonSchema({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: { address },
    properties: {
      name: string,
      address: { $ref: '#/$defs/address' },
      contactMethod: { type: 'string', enum: ['phone', 'email'] },
      phone: string,
      email: string,
    },
    allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
    if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
    then: { required: ['phone'] },
    else: { required: ['email'] },
    additionalProperties: false,
  });
  tool('json_schema_2020_12_tool', full, async (args) => say(JSON.stringify(args)));
}

/** Ours: arguments mirrored into headers, calls that last, sessions that end, answers that are large. */
function ownTools(tool, world) {
  const mirrored = {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    level: { type: 'integer', 'x-mcp-header': 'Level' },
    dry: { type: 'boolean', 'x-mcp-header': 'Dry' },
    rest: string,
  };
  tool('headers', schema(mirrored), async (args) => say(JSON.stringify(args)));
  const lasting = schema({ ms: { type: 'integer' }, tag: string }, ['ms', 'tag']);
  tool('slow', lasting, async ({ ms, tag }, ctx) => {
    world.log(`began ${tag}`);
    try {
      await delay(ms, undefined, { signal: ctx.mcpReq.signal });
    } catch {
      world.log(`cancelled ${tag}`);
    }
    return say(`slow ${tag}`);
  });
  tool('forget_session', schema(), async (_, ctx) => {
    world.forget(ctx);
    return say('forgotten');
  });
  tool('big', schema({ bytes: { type: 'integer' } }, ['bytes']), async ({ bytes }) =>
    say('0123456789abcdef'.repeat(bytes / 16)),
  );
}

function resources(server) {
  const resource = (name, at, mimeType, read) =>
    server.registerResource(name, at, { title: name, description: name, mimeType }, read);
  const still = (name, mimeType, content) => {
    const uri = `test://${name}`;
    resource(name, uri, mimeType, async () => ({ contents: [{ uri, mimeType, ...content }] }));
  };
  still('static-text', 'text/plain', { text: 'This is the content of the static text resource.' });
  still('static-binary', 'image/png', { blob: PNG });
  still('watched-resource', 'text/plain', { text: 'watched' });
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
  resource('template', template, 'application/json', async (uri, { id }) => {
    const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
    return { contents: [{ uri: uri.href, mimeType: 'application/json', text }] };
  });
  for (const method of ['resources/subscribe', 'resources/unsubscribe', 'logging/setLevel']) {
    server.server.setRequestHandler(method, async () => ({}));
  }
}

function prompts(server) {
  const user = (...contents) => ({
    messages: contents.map((content) => ({ role: 'user', content })),
  });
  const words = (text) => ({ type: 'text', text });
  const prompt = (name, argsSchema, answer) =>
    server.registerPrompt(name, { description: name, ...(argsSchema && { argsSchema }) }, answer);

  prompt('test_simple_prompt', undefined, async () =>
    user(words('This is a simple prompt for testing.')),
  );
  const two = schema({ arg1: string, arg2: string }, ['arg1', 'arg2']);
  prompt('test_prompt_with_arguments', two, async ({ arg1, arg2 }) =>
    user(words(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  );
  const one = schema({ resourceUri: string }, ['resourceUri']);
  prompt('test_prompt_with_embedded_resource', one, async ({ resourceUri }) =>
    user(
      embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
      words('Please process the embedded resource above.'),
    ),
  );
  prompt('test_prompt_with_image', undefined, async () =>
    user(image, words('Please analyze the image above.')),
  );
  prompt('test_input_required_result_prompt', undefined, async (ctx) => {
    const context = acceptedContent(ctx.mcpReq.inputResponses, 'user_context')?.context;
    return context === undefined
      ? inputRequired({ inputRequests: { user_context: wantName('context') } })
      : user(words(`Context: ${context}`));
  });
  server.server.setRequestHandler('completion/complete', async () => ({
    completion: { values: ['paris', 'park'], total: 2, hasMore: false },
  }));
}
