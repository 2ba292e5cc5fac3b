// The official TypeScript SDK (v1) client → gateway → the reference workspace → server-everything, every
// tool of which needs approval. The SDK checks structured content against the tools' output schemas.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { binary } from '../harness/gateway.mjs';
import { assert, assertSame } from '../harness/leg.mjs';
import { cleanEnv } from '../harness/process.mjs';
import { startEverything } from '../servers/everything.mjs';
import { startWorkspace } from '../servers/workspace.mjs';

export const expected = 9;
export const limitMs = 90_000;

const GUARDIAN = 'aerostack__local_guardian';
const CHAT = 'aerostack__agent_chat';

export async function run(leg) {
  const everything = await startEverything();
  const workspace = await startWorkspace(everything.url);
  const direct = new Client({ name: 'interop', version: '1' });
  await direct.connect(new StreamableHTTPClientTransport(new URL(everything.url)));
  const { client, heard } = await connect(workspace, 'claude-code');

  await leg.check('tools: those of the server, and the two built-ins', async () => {
    const { tools } = await client.listTools();
    const names = tools.map(({ name }) => name);
    for (const { name } of (await direct.listTools()).tools) {
      assert(names.includes(`everything__${name}`), `${name} is not among ${names}`);
    }
    assertSame(names.slice(-2), [GUARDIAN, CHAT]);
  });
  for (const [name, args] of [
    ['echo', { message: 'åß 🚀' }],
    ['get-structured-content', { location: 'New York' }],
    ['trigger-long-running-operation', { duration: 0.2, steps: 2 }],
  ]) {
    await leg.check(`approved: ${name} answers as without approval`, async () => {
      const answer = client.callTool({ name: `everything__${name}`, arguments: args });
      await workspace.decide('approve');
      assertSame(await answer, await direct.callTool({ name, arguments: args }));
    });
  }
  await leg.check('rejected: an error with the note, nothing is executed', async () => {
    const answer = client.callTool({ name: 'everything__echo', arguments: { message: 'x' } });
    await workspace.decide('reject', { note: 'not now' });
    const { isError, content } = await answer;
    assert(isError && content[0].text.includes('not now'), JSON.stringify(content));
  });
  await leg.check('guardian: approved and rejected, valid by its output schema', async () => {
    const call = () => client.callTool({ name: GUARDIAN, arguments: { category: 'deploy', action: 'make deploy' } });
    let answer = call();
    const id = await workspace.decide('approve', { note: 'go' });
    const said = { decision: 'approved', approval_id: id, note: 'go', decided_by: 'Ada' };
    assertSame((await answer).structuredContent, said);
    answer = call();
    await workspace.decide('reject');
    const { isError, structuredContent } = await answer;
    assert(isError && structuredContent.decision === 'rejected', JSON.stringify(structuredContent));
  });
  await leg.check('chat: the channel notifies, read and send work', async () => {
    const { id } = await workspace.ask('POST', '/chat', { text: 'hello agent', topic: 't' });
    const params = { content: 'hello agent', meta: { topic: 't', message_id: id } };
    assertSame(await heard('notifications/claude/channel'), params);
    const read = await client.callTool({ name: CHAT, arguments: { action: 'read' } });
    assert(read.content[0].text.includes('hello agent'), read.content[0].text);
    await client.callTool({ name: CHAT, arguments: { action: 'send', text: 'hello person' } });
    const messages = await workspace.ask('GET', '/chat?min=2');
    assert(messages.at(-1).text === 'hello person', JSON.stringify(messages));
  });
  await leg.check('presence: online, then offline', async () => {
    const [bridge] = await workspace.ask('GET', '/bridges?status=online&min=1');
    assertSame(bridge.client, { name: 'claude-code', version: '1' });
    await client.close();
    await workspace.ask('GET', '/bridges?status=offline&min=1');
  });
  await leg.check('a start without the workspace: its tools appear by themselves', async () => {
    await workspace.ask('POST', '/outage', { mode: 'refuse' });
    const late = await connect(workspace, 'late');
    assertSame((await late.client.listTools()).tools.map(({ name }) => name), [GUARDIAN, CHAT]);
    await workspace.ask('POST', '/outage', { mode: 'none' });
    await late.heard('notifications/tools/list_changed');
    const { tools } = await late.client.listTools();
    assert(tools.some(({ name }) => name === 'everything__echo'), JSON.stringify(tools));
    await late.client.close();
  });
  await direct.close();
}

/** A client, and a promise for each kind of notification that it hears. */
async function connect({ url, token }, name) {
  const client = new Client({ name, version: '1' });
  const seen = [];
  let waiting = [];
  client.fallbackNotificationHandler = async (notification) => {
    seen.push(notification);
    waiting = waiting.filter((attempt) => !attempt());
  };
  const heard = (method) =>
    new Promise((resolve) => {
      const attempt = () => {
        const at = seen.findIndex((notification) => notification.method === method);
        if (at >= 0) resolve(seen.splice(at, 1)[0].params);
        return at >= 0;
      };
      if (!attempt()) waiting.push(attempt);
    });
  const env = cleanEnv({ AEROSTACK_WORKSPACE_URL: url, AEROSTACK_TOKEN: token });
  await client.connect(new StdioClientTransport({ command: binary, args: [], env, stderr: 'ignore' }));
  return { client, heard };
}
