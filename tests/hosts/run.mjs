// The real AI tools, each set up by --install in a home of its own, with the reference workspace behind
// the gateway. Started by scripts/hosts.
//
//   run.mjs [--only REGEX] [--patience SECONDS] [--write]
//
// Prints `ok` or `not ok` for each tool, the table of README.md (with --write it is put there), and
// 'N passed, N failed'.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { hosts } from './hosts.mjs';
import { Workspace } from './workspace.mjs';

const { values } = parseArgs({
  options: { only: { type: 'string' }, patience: { type: 'string' }, write: { type: 'boolean' } },
});
const PATIENCE_S = Number(values.patience ?? 65);
const LIMIT_MS = (PATIENCE_S + 120) * 1000;
const BEGIN = '<!-- begin: scripts/hosts --write -->';
const END = '<!-- end: scripts/hosts --write -->';

const gateway = process.env.AEROSTACK_GATEWAY_BIN;
const parts = dirname(fileURLToPath(import.meta.url));
const modules = join(parts, 'node_modules');

/// One tool in a home of its own, with a workspace of its own.
class Host {
  constructor(host, workspace, home) {
    Object.assign(this, host);
    this.workspace = workspace;
    this.home = home;
  }

  path(name) {
    return join(modules, name);
  }

  env(more = {}) {
    const path = [dirname(process.execPath), join(modules, '.bin'), process.env.PATH].join(':');
    return { PATH: path, HOME: this.home, TERM: 'dumb', NO_COLOR: '1', ...more };
  }

  start(program, args, env) {
    const file = program.startsWith('/') ? program : this.path(program);
    return spawn(file, args, { cwd: this.home, env: this.env(env), stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /// Runs to the end and returns what it said on either stream, or on stdout alone (`out`), without
  /// colours.
  exec(program, args, env) {
    const child = this.start(program, args, env);
    let [all, out] = ['', ''];
    child.stdin.end();
    child.stderr.on('data', (data) => (all += data));
    child.stdout.on('data', (data) => {
      all += data;
      out += data;
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    return new Promise((done, fail) => {
      child.on('error', fail);
      child.on('close', (code) => {
        clearTimeout(timer);
        const plain = (text) => text.replace(/\u001b\[[0-9;]*m/g, '');
        if (code === 0) done({ all: plain(all), out: plain(out) });
        else fail(new Error(`${program} ended with ${code}: ${plain(all).slice(-600)}`));
      });
    });
  }

  /// What --install writes, or for what has no file of its own, what --print-config prints.
  async configure() {
    const { url, token } = this.workspace.ready;
    const settings = { AEROSTACK_WORKSPACE_URL: url, AEROSTACK_TOKEN: token };
    if (this.prints) {
      this.file = join(this.home, 'servers.json');
      const args = ['--print-config', this.prints, '--show-token'];
      writeFileSync(this.file, (await this.exec(gateway, args, settings)).out);
      return;
    }
    mkdirSync(join(this.home, this.folder), { recursive: true });
    const { all } = await this.exec(gateway, ['--install', this.name], settings);
    assert.ok(!all.includes(token), 'the token is shown');
    this.file = all.slice(0, all.indexOf(' ('));
  }

  /// A gated call: it waits, and has run once it was approved.
  async approves(called, { atOnce } = {}) {
    let early = true;
    const ended = called.then(
      (result) => ({ early, result }),
      (error) => ({ early, error }),
    );
    const id = await this.workspace.pending();
    if (!atOnce) await new Promise((done) => setTimeout(done, PATIENCE_S * 1000));
    early = false;
    await this.workspace.approve(id);
    const { early: tooEarly, result, error } = await ended;
    if (error) throw error;
    assert.ok(!tooEarly, `answered before the approval: ${JSON.stringify(result)}`);
    assert.match(JSON.stringify(result), /deleted/i);
    assert.equal(await this.workspace.executions(id), 1);
  }

  shownFile() {
    return this.prints ? '' : `\`${this.file.replace(this.home, '~')}\``;
  }

  /// The time limit that was written.
  shownLimit() {
    const text = readFileSync(this.file, 'utf8');
    const found = text.match(/"?(tool_timeout_sec|requestTimeoutMs|timeout)"?(?: = |: )(\d+)/);
    if (!found) return 'none known';
    // Nobody's limit is a day in seconds, nor a minute in milliseconds.
    const seconds = Number(found[2]) < 86_400 ? Number(found[2]) : Number(found[2]) / 1000;
    return `${seconds / 3600} h (\`${found[1]}\`)`;
  }

  version() {
    if (!this.package) return '';
    return JSON.parse(readFileSync(this.path(`${this.package}/package.json`), 'utf8')).version;
  }
}

async function drive(host) {
  const home = mkdtempSync(join(tmpdir(), 'aerostack-host-'));
  const workspace = await Workspace.start();
  const one = new Host(host, workspace, home);
  try {
    await one.configure();
    const row = { title: host.title, file: one.shownFile(), limit: one.prints ? '' : one.shownLimit() };
    if (!host.run) return { ...row, version: '', seen: 'by documentation' };
    const { seen, limited } = await one.run(one);
    if (seen.startsWith('connects')) await workspace.greeted();
    const waited = limited && PATIENCE_S > 60 ? ` (${PATIENCE_S} s) and is approved` : '';
    const approved = seen.endsWith('waits') && !waited ? ' and is approved' : waited;
    return { ...row, version: one.version(), seen: seen + approved };
  } finally {
    await workspace.end();
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  }
}

function table(rows) {
  const date = new Date().toISOString().slice(0, 10);
  const lines = rows
    .sort((a, b) => a.title.toLowerCase().localeCompare(b.title.toLowerCase()))
    .map((row) => `| ${[row.title, row.version, row.seen, row.file, row.limit].join(' | ')} |`);
  return [
    `Seen on ${date}:`,
    '',
    '| AI tool | version | seen | `--install` writes | time limit |',
    '|---|---|---|---|---|',
    ...lines,
  ].join('\n');
}

const only = new RegExp(values.only ?? '');
const chosen = hosts.filter((host) => only.test(host.name ?? host.title));
const rows = [];
let failed = 0;
// All at once: most of the time they wait for their approval.
await Promise.all(
  chosen.map(async (host) => {
    try {
      rows.push(await drive(host));
      console.log(`ok ${host.title}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${host.title}: ${error.message}`);
    }
  }),
);
const text = table(rows);
console.log(`\n${text}\n\n${rows.length} passed, ${failed} failed`);
if (values.write && !failed && !values.only) {
  const readme = resolve('README.md');
  const old = readFileSync(readme, 'utf8');
  const [before, rest] = old.split(BEGIN);
  const after = rest.split(END)[1];
  writeFileSync(readme, `${before}${BEGIN}\n${text}\n${END}${after}`);
}
process.exit(failed === 0 && rows.length > 0 ? 0 : 1);
