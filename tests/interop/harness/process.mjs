// Starting and ending other programs. Each gets a process group of its own and is ended by that
// group's id; what a program says is awaited as an event, never by sleeping.
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { within } from './leg.mjs';

/** The folder the packages are installed in (`target/interop`); this code is its `src`. */
export const home = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const here = join(home, 'src');
export const node = process.execPath;
export const loopback = `--import=${join(here, 'harness/loopback.mjs')}`;

/** The environment of everything started here: nothing of the caller's leaks into a test. */
export function cleanEnv(extra = {}) {
  const scratch = join(home, 'home');
  mkdirSync(scratch, { recursive: true });
  return { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: scratch, ...extra };
}

const running = new Set();
process.on('exit', () => running.forEach(({ child }) => signal(child, 'SIGKILL')));
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => process.exit(130));

function signal(child, name) {
  try {
    process.kill(-child.pid, name);
  } catch {
    // The group is gone already.
  }
}

/** A running program whose output can be waited for. */
export class Program {
  output = '';
  #waiting = [];

  constructor(command, args, { env = {}, cwd = home, stdin = 'ignore', onStdout } = {}) {
    this.name = args.findLast((arg) => /\.(m?js|py)$/.test(arg)) ?? command;
    const stdio = [stdin, 'pipe', 'pipe'];
    this.child = spawn(command, args, { env: cleanEnv(env), cwd, stdio, detached: true });
    running.add(this);
    this.child.stdin?.on('error', () => {});
    const hear = (text) => this.#hear(text);
    this.child.stdout.setEncoding('utf8').on('data', onStdout ?? hear);
    this.child.stderr.setEncoding('utf8').on('data', hear);
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => resolve({ code: null, error }));
      this.child.on('close', (code, signalName) => resolve({ code, signal: signalName }));
    }).then((end) => {
      running.delete(this);
      this.end = end;
      this.#hear('');
      return end;
    });
  }

  #hear(text) {
    this.output += text;
    this.#waiting = this.#waiting.filter((attempt) => !attempt());
  }

  /** Resolves with the first match of `pattern` in the output, past or to come. */
  said(pattern, limitMs = 15_000) {
    const said = new Promise((resolve, reject) => {
      const attempt = () => {
        const match = pattern.exec(this.output);
        if (match) resolve(match);
        else if (this.end) reject(new Error(`${this.name} ended: ${this.output.slice(-400)}`));
        return Boolean(match ?? this.end);
      };
      if (!attempt()) this.#waiting.push(attempt);
    });
    return within(limitMs, said, `${this.name} saying ${pattern}`);
  }

  /** SIGTERM to the group, SIGKILL after `graceMs`. */
  async stop(graceMs = 2_000) {
    signal(this.child, 'SIGTERM');
    await within(graceMs, this.ended, 'end').catch(() => signal(this.child, 'SIGKILL'));
    await this.ended;
    signal(this.child, 'SIGKILL');
  }
}

/** Runs a program to its end, or kills its group at the limit. */
export async function run(command, args, { limitMs, ...options }) {
  const program = new Program(command, args, options);
  try {
    const end = await within(limitMs, program.ended, program.name);
    return { ...end, output: program.output };
  } catch (error) {
    await program.stop(0);
    return { code: null, error, output: program.output };
  }
}

/** Ends whatever is still running, all at once. */
export const stopAll = () => Promise.all([...running].map((program) => program.stop()));
