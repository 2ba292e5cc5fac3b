import { join } from 'node:path';
import { Program, here, node } from '../harness/process.mjs';

export async function startFixture() {
  const program = new Program(node, [join(here, 'servers/fixture.mjs')]);
  const [, url] = await program.said(/fixture on (\S+)/);
  return { program, url };
}
