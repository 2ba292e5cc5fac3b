// Each AI tool: which package it is, the folder that its first start makes, and what it can be asked
// without a model and without an account.
import { strict as assert } from 'node:assert';
import { pathToFileURL } from 'node:url';
import { AppServer } from './codex.mjs';

const GATED = { name: 'files__delete', arguments: { path: 'notes/old.txt' } };
/// What the reference workspace and the gateway's own two tools are together.
const TOOLS = 25;

/// A tool that lists its servers with their state.
const lists = (program, args, connected, env) => async (host) => {
  const { all } = await host.exec(program, args, env);
  assert.match(all, connected);
  return { seen: 'connects' };
};

export const hosts = [
  {
    name: 'claude-code',
    title: 'Claude Code',
    package: '@anthropic-ai/claude-code',
    folder: '.claude',
    run: lists('@anthropic-ai/claude-code-linux-x64/claude', ['mcp', 'list'], /aerostack: .*Connected/),
  },
  { name: 'claude-desktop', title: 'Claude Desktop', folder: '.config/Claude' },
  {
    name: 'cline',
    title: 'Cline',
    package: 'cline',
    folder: '.cline',
    async run(host) {
      const core = await import(pathToFileURL(host.path('@cline/core/dist/index.js')));
      const servers = new core.InMemoryMcpManager({
        clientFactory: core.createDefaultMcpServerClientFactory(),
      });
      try {
        await core.registerMcpServersFromSettingsFile(servers, { filePath: host.file });
        await servers.connectServer('aerostack');
        assert.equal((await servers.listTools('aerostack')).length, TOOLS);
        const called = servers.callTool({
          serverName: 'aerostack',
          toolName: GATED.name,
          arguments: GATED.arguments,
        });
        await host.approves(called);
      } finally {
        await servers.dispose();
      }
      return { seen: 'connects, lists the tools, a gated call waits', limited: true };
    },
  },
  {
    name: 'codex',
    title: 'Codex',
    package: '@openai/codex',
    folder: '.codex',
    async run(host) {
      const server = new AppServer(host.start('.bin/codex', ['app-server']));
      try {
        await server.ask('initialize', {
          clientInfo: { name: 'hosts', version: '1' },
          capabilities: { experimentalApi: true },
        });
        server.tell('initialized');
        const { data } = await server.ask('mcpServerStatus/list', {});
        const tools = data.find((one) => one.name === 'aerostack')?.tools ?? {};
        assert.equal(Object.keys(tools).length, TOOLS);
        const { thread } = await server.ask('thread/start', { cwd: host.home, ephemeral: true });
        const called = server.ask('mcpServer/tool/call', {
          server: 'aerostack',
          threadId: thread.id,
          tool: GATED.name,
          arguments: GATED.arguments,
        });
        await host.approves(called);
      } finally {
        server.end();
      }
      return { seen: 'connects, lists the tools, a gated call waits', limited: true };
    },
  },
  {
    name: 'copilot',
    title: 'Copilot CLI',
    package: '@github/copilot',
    folder: '.copilot',
    // Without an account it starts no server: its own reading of the entry is all that can be seen.
    async run(host) {
      const program = '@github/copilot-linux-x64/copilot';
      const { all } = await host.exec(program, ['mcp', 'get', 'aerostack']);
      assert.match(all, /Status: Enabled/);
      assert.match(all, /Timeout: 3600000ms/);
      return { seen: 'reads the entry and its time limit' };
    },
  },
  { name: 'cursor', title: 'Cursor', folder: '.cursor' },
  {
    name: 'droid',
    title: 'Droid',
    package: 'droid',
    folder: '.factory',
    run: lists('@factory/cli-linux-x64/bin/droid', ['mcp', 'list'], /aerostack\s+stdio\s+connected/),
  },
  {
    name: 'gemini',
    title: 'Gemini CLI',
    package: '@google/gemini-cli',
    folder: '.gemini',
    run: lists('.bin/gemini', ['mcp', 'list'], /✓ aerostack: .*Connected/, {
      GEMINI_CLI_TRUST_WORKSPACE: 'true',
    }),
  },
  { name: 'goose', title: 'Goose', folder: '.config/goose' },
  {
    name: 'openclaw',
    title: 'OpenClaw',
    package: 'openclaw',
    folder: '.openclaw',
    async run(host) {
      const { out } = await host.exec('.bin/openclaw', ['mcp', 'probe', '--json']);
      const { tools } = JSON.parse(out.slice(out.indexOf('{\n')));
      // It offers resources and prompts as tools, too.
      const own = tools.filter((name) => !/__(prompts|resources)_/.test(name));
      assert.equal(own.length, TOOLS);
      return { seen: 'connects, lists the tools' };
    },
  },
  {
    name: 'opencode',
    title: 'opencode',
    package: 'opencode-ai',
    folder: '.config/opencode',
    run: lists('opencode-linux-x64/bin/opencode', ['mcp', 'list'], /✓ aerostack .*connected/),
  },
  {
    name: 'qwen',
    title: 'Qwen Code',
    package: '@qwen-code/qwen-code',
    folder: '.qwen',
    run: lists('.bin/qwen', ['mcp', 'list'], /aerostack: .*Connected/),
  },
  { name: 'vscode', title: 'VS Code', folder: '.config/Code/User' },
  { name: 'windsurf', title: 'Windsurf', folder: '.codeium' },
  {
    title: 'MCP Inspector',
    package: '@modelcontextprotocol/inspector',
    prints: 'claude-desktop',
    async run(host) {
      const inspect = (...args) =>
        host.exec('.bin/mcp-inspector', ['--cli', '--config', host.file, '--server', 'aerostack', ...args]);
      const { tools } = JSON.parse((await inspect('--method', 'tools/list')).out);
      assert.equal(tools.length, TOOLS);
      const path = `path=${GATED.arguments.path}`;
      await host.approves(
        inspect('--method', 'tools/call', '--tool-name', GATED.name, '--tool-arg', path),
        { atOnce: true },
      );
      return { seen: 'connects, lists the tools, a gated call waits' };
    },
  },
  {
    title: 'mcporter',
    package: 'mcporter',
    prints: 'claude-desktop',
    async run(host) {
      const run = (...args) => host.exec('.bin/mcporter', ['--config', host.file, ...args]);
      assert.match((await run('list', 'aerostack')).all, new RegExp(`${TOOLS} tools`));
      const path = `path=${GATED.arguments.path}`;
      await host.approves(run('call', `aerostack.${GATED.name}`, path), { atOnce: true });
      return { seen: 'connects, lists the tools, a gated call waits' };
    },
  },
];
