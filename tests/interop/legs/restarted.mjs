// Raw lines → gateway → a server of PyPI `mcp` 1.16 behind uvicorn, which says of a session that it does
// not know "Bad Request: No valid session ID provided", with status 400. It is restarted in mid-session.
import { join } from 'node:path';
import { StdioPeer } from '../harness/gateway.mjs';
import { assert, assertSame } from '../harness/leg.mjs';
import { Program, here, home } from '../harness/process.mjs';

export const expected = 5;
export const limitMs = 90_000;

const VERSION = '2025-06-18';

export async function run(leg) {
  let server = await startServer(0);
  const peer = new StdioPeer(server.url);
  const add = (a, b) => peer.request('tools/call', { name: 'add', arguments: { a, b } });
  const sum = async (a, b) => assertSame((await add(a, b)).content[0].text, String(a + b), 'sum');
  const restart = async () => {
    await server.program.stop(0);
    server = await startServer(server.port);
  };

  await leg.check('before: a call', async () => {
    await peer.initialize(VERSION);
    await sum(1, 2);
  });
  await leg.check('restarted: the next call opens a new session and is answered', async () => {
    await restart();
    await sum(3, 4);
    await sum(5, 6);
  });
  await leg.check('restarted again: four calls at once', async () => {
    await restart();
    await Promise.all([1, 2, 3, 4].map((n) => sum(n, n)));
  });
  await leg.check('arguments that it does not like cost no session', async () => {
    const { result, error } = await peer.ask('tools/call', { name: 'add', arguments: { a: 'x' } });
    assert(error !== undefined || result.isError, JSON.stringify(result));
    await sum(7, 8);
  });
  await leg.check('nothing else on stdout, and a clean end', async () => {
    assertSame([peer.garbage, peer.strays], [[], []]);
    const { code } = await peer.close();
    assert(code === 0, `exit code ${code}`);
  });
}

async function startServer(port) {
  const python = join(home, 'python-v1.16/bin/python');
  const program = new Program(python, [join(here, 'python/server.py'), String(port)]);
  const [, url, got] = await program.said(/python server on (\S+:(\d+)\/mcp)/, 30_000);
  return { program, url, port: got };
}
