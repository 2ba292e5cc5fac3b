// A reference workspace of its own for each tool, and its admin API.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export class Workspace {
  static async start() {
    const workspace = new Workspace();
    workspace.folder = mkdtempSync(join(tmpdir(), 'aerostack-workspace-'));
    const file = join(workspace.folder, 'ready.json');
    const args = ['--http', '--admin', '--rate-limit', '0', '--ready-file', file];
    workspace.child = spawn(process.env.AEROSTACK_WORKSPACE_BIN, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // The file is whole before the first line is printed.
    const lines = createInterface({ input: workspace.child.stdout });
    await new Promise((done) => lines.once('line', done));
    workspace.ready = JSON.parse(readFileSync(file, 'utf8'));
    return workspace;
  }

  async ask(method, path, body) {
    const response = await fetch(`${this.ready.admin_url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.ready.admin_token}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      body: body && JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
    return response.json();
  }

  /// Waits for the first message of a client, of whichever generation of MCP.
  async greeted() {
    await this.ask('GET', '/requests?http=POST&min=1&timeout_ms=10000');
  }

  /// Waits for the first approval and returns its id.
  async pending() {
    const all = await this.ask('GET', '/approvals?status=pending&min=1&timeout_ms=60000');
    return all[0].id ?? all[0].approval_id;
  }

  async approve(id) {
    await this.ask('POST', `/approvals/${id}/approve`, {});
  }

  async executions(id) {
    const { approvals } = await this.ask('GET', '/executions');
    return approvals[id];
  }

  async end() {
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill();
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
