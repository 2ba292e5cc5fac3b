// The official conformance suite tests a client: suite's HTTP server ← gateway ← raw lines.
import { mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { binary } from '../harness/gateway.mjs';
import { assert } from '../harness/leg.mjs';
import { home, loopback, node, run as runProgram } from '../harness/process.mjs';

export const expected = 13;
export const limitMs = 120_000;

/**
 * Every client scenario of the suite but `auth/*`: the gateway is given its token and has no OAuth flow.
 * `sep-2640-*` is an extension on files of skills, which is the host's business.
 */
const SCENARIOS = {
  '2025-11-25': [
    'initialize',
    'tools_call',
    'elicitation-sep1034-client-defaults',
    'sse-retry',
    'json-schema-2020-12-preservation',
  ],
  '2026-07-28': [
    'tools_call',
    'request-metadata',
    'http-standard-headers',
    'http-custom-headers',
    'http-invalid-tool-headers',
    'sep-2322-client-request-state',
    'json-schema-ref-no-deref',
    'json-schema-2020-12-preservation',
  ],
};

export async function run(leg) {
  const cases = Object.entries(SCENARIOS).flatMap(([revision, scenarios]) =>
    scenarios.map((scenario) => ({ revision, scenario })),
  );
  const worker = async () => {
    for (let next = cases.shift(); next; next = cases.shift()) {
      const { revision, scenario } = next;
      await leg.check(`${revision} ${scenario}`, () => play(revision, scenario), 60_000);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
}

async function play(revision, scenario) {
  const folder = join(home, 'results', `client-${revision}-${scenario}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  // The suite splits the command at blanks, so it is kept free of any path that might have one.
  const command = `node src/drivers/conformance-host.mjs`;
  const suite = 'node_modules/@modelcontextprotocol/conformance/dist/index.js';
  const args = [suite, 'client', '--command', command, '--scenario', scenario];
  args.push('--spec-version', revision, '--output-dir', folder, '--timeout', '40000');
  const env = {
    PATH: `${join(node, '..')}:${process.env.PATH}`,
    NODE_OPTIONS: loopback,
    AEROSTACK_GATEWAY_BIN: binary,
  };
  const { code, output } = await runProgram(node, args, { env, limitMs: 50_000 });
  const [results] = await readdir(folder);
  const checks = results ? JSON.parse(await readFile(join(folder, results, 'checks.json'))) : [];
  const bad = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING');
  const driver = /^driver: .*/m.exec(output)?.[0] ?? '';
  const why = bad.map(({ id, errorMessage }) => `${id}: ${errorMessage}`).join('; ');
  assert(bad.length === 0, `${why} ${driver}`);
  assert(code === 0, `exit code ${code} ${driver}`);
  // The suite is content with no check at all.
  assert(checks.some(({ status }) => status === 'SUCCESS'), 'no check ran');
}
