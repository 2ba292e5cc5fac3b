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
  const restart = async () => {
    await server.program.stop(0);
    server = await startServer(server.port);
  };

  // A gateway of its own for each restart: it opens at most one new session in ten seconds.
  const one = new Calculator(server.url);
  await leg.check('a restart: the next call opens a new session and is answered', async () => {
    await one.open();
    await restart();
    await one.sum(3, 4);
    await one.sum(5, 6);
  });
  await leg.check('arguments that it does not like cost no session', async () => {
    const { result, error } = await one.peer.ask('tools/call', { name: 'add', arguments: { a: 'x' } });
    assert(error !== undefined || result.isError, JSON.stringify(result));
    await one.sum(7, 8);
  });
  await leg.check('nothing else on stdout, and a clean end', () => one.close());

  const many = new Calculator(server.url);
  await leg.check('a restart: four calls at once', async () => {
    await many.open();
    await restart();
    await Promise.all([1, 2, 3, 4].map((n) => many.sum(n, n)));
  });
  await leg.check('nothing else on stdout then, and a clean end', () => many.close());
}

/** A gateway in front of the server's tool `add`. */
class Calculator {
  constructor(url) {
    this.peer = new StdioPeer(url);
  }

  async open() {
    await this.peer.initialize(VERSION);
    await this.sum(1, 2);
  }

  async sum(a, b) {
    const { content } = await this.peer.request('tools/call', { name: 'add', arguments: { a, b } });
    assertSame(content[0].text, String(a + b), 'sum');
  }

  async close() {
    assertSame([this.peer.garbage, this.peer.strays], [[], []]);
    const { code } = await this.peer.close();
    assert(code === 0, `exit code ${code}`);
  }
}

async function startServer(port) {
  const python = join(home, 'python-v1.16/bin/python');
  const program = new Program(python, [join(here, 'python/server.py'), String(port)]);
  const [, url, got] = await program.said(/python server on (\S+:(\d+)\/mcp)/, 30_000);
  return { program, url, port: got };
}
