// `@modelcontextprotocol/server-everything`, the reference server of 2025-11-25, on a free port.
import { join } from 'node:path';
import { Program, home, loopback, node } from '../harness/process.mjs';

const main = join(home, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js');

export async function startEverything() {
  const program = new Program(node, [loopback, main, 'streamableHttp'], { env: { PORT: '0' } });
  const [, port] = await program.said(/listening on 127\.0\.0\.1:(\d+)/);
  return { program, url: `http://127.0.0.1:${port}/mcp` };
}
