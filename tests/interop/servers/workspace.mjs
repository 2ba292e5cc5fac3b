// The reference workspace in front of a server of others, with its admin API.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Program, home } from '../harness/process.mjs';

const binary = process.env.AEROSTACK_WORKSPACE_BIN;

export async function startWorkspace(upstream) {
  if (!binary) throw new Error('AEROSTACK_WORKSPACE_BIN names no workspace');
  const ready = join(home, 'workspace.json');
  const token = 'mwt_interop';
  const args = ['--http', '--admin', '--token', token, '--rate-limit', '0', '--ready-file', ready];
  args.push('--upstream', `everything=${upstream}`, '--gate', 'everything__*');
  const program = new Program(binary, args);
  // The file is whole before the first line is printed.
  await program.said(/\n/);
  const { url, admin_url: admin, admin_token: secret } = JSON.parse(readFileSync(ready, 'utf8'));
  const ask = async (method, path, body) => {
    const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' };
    const answer = await fetch(admin + path, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  /** The one approval that is open. */
  const pending = async () => (await ask('GET', '/approvals?status=pending&min=1'))[0].approval_id;
  const decide = async (verdict, body = {}) => {
    const id = await pending();
    await ask('POST', `/approvals/${id}/${verdict}`, { by: 'Ada', ...body });
    return id;
  };
  return { program, url, token, ask, decide };
}
