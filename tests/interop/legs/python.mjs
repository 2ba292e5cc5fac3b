// The PyPI `mcp` clients over stdio → gateway → servers made with that package, server-everything.
// mcp 1.x is what most Python hosts run; mcp 2.x speaks both eras.
import { join } from 'node:path';
import { binary } from '../harness/gateway.mjs';
import { Program, here, home } from '../harness/process.mjs';
import { startEverything } from '../servers/everything.mjs';

export const expected = 118;
export const limitMs = 120_000;

const python = (version) => join(home, `python-${version}/bin/python`);

export async function run(leg) {
  const [fastmcp, mcpserver, everything] = await Promise.all([
    startServer('v1'),
    startServer('v2'),
    startEverything().then(({ url }) => url),
  ]);
  const pairs = [
    ['v1 client, FastMCP', 'v1', 'v1', 'python', fastmcp],
    ['v1 client, server-everything', 'v1', 'v1', 'everything', everything],
    ['v2 client, MCPServer', 'v2', 'auto', 'python', mcpserver],
    ['v2 client of 2025-11-25, MCPServer', 'v2', 'legacy', 'python', mcpserver],
    ['v2 client, FastMCP', 'v2', 'legacy', 'python', fastmcp],
    ['v2 client, server-everything', 'v2', 'auto', 'everything', everything],
  ];
  // Two at a time: each mostly waits for the other end.
  const worker = async () => {
    for (let pair = pairs.shift(); pair; pair = pairs.shift()) await play(leg, ...pair);
  };
  await Promise.all([worker(), worker()]);
}

async function startServer(version) {
  const program = new Program(python(version), [join(here, 'python/server.py')]);
  return (await program.said(/python server on (\S+)/, 30_000))[1];
}

async function play(leg, name, version, mode, suite, url) {
  const args = [join(here, 'python/client.py'), name, mode, suite, url];
  const env = { AEROSTACK_GATEWAY_BIN: binary };
  const client = new Program(python(version), args, { env });
  const { code } = await client.ended;
  for (const [, verdict, check, why] of client.output.matchAll(/^(ok|not ok) (.+?)(?: -- (.*))?$/gm)) {
    if (!leg.wants(check)) continue;
    if (verdict === 'ok') leg.pass(check);
    else leg.fail(check, why);
  }
  if (code !== 0) leg.fail(`${name}: runs to its end`, client.output.slice(-600));
}
