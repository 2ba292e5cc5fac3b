// The official conformance suite tests a server: suite → front → gateway → fixture. The same suite
// runs against the fixture alone; each scenario must pass as many checks with the gateway as without.
import { mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { binary } from '../harness/gateway.mjs';
import { assert } from '../harness/leg.mjs';
import { Program, here, home, node, run as runProgram } from '../harness/process.mjs';
import { startFixture } from '../servers/start-fixture.mjs';

export const expected = 67;
export const limitMs = 120_000;

const suite = join(home, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');

const REVISIONS = ['2025-11-25', '2026-07-28'];
/** Scenarios on what ends at the front and never reaches stdio. */
const OF_THE_FRONT = new Set([
  'dns-rebinding-protection', // the Host header
  'server-session-lifecycle', // session ids over HTTP
  'server-sse-polling', // closing and resuming an HTTP stream
  'http-header-validation', // Mcp-* headers that arrive
  'http-custom-header-server-validation', // Mcp-Param-* headers that arrive
]);

export async function run(leg) {
  const fixture = await startFixture();
  const front = new Program(node, [join(here, 'servers/front.mjs'), fixture.url], {
    env: { AEROSTACK_GATEWAY_BIN: binary },
  });
  const [, url] = await front.said(/front on (\S+)/);
  const results = await Promise.all(REVISIONS.map((revision) => both(revision, fixture.url, url)));
  for (const [index, { alone, bridged }] of results.entries()) {
    for (const [scenario, want] of alone) {
      const name = `${REVISIONS[index]} ${scenario}`;
      await leg.check(name, async () => judge(bridged.get(scenario), want));
    }
  }
}

async function both(revision, fixtureUrl, frontUrl) {
  const [alone, bridged] = [
    await suiteRun(revision, fixtureUrl, 'alone'),
    await suiteRun(revision, frontUrl, 'bridged'),
  ];
  return { alone, bridged };
}

/** Scenario → its checks. The suite's own exit code is no verdict: it is 0 when no check ran. */
async function suiteRun(revision, url, name) {
  const folder = join(home, 'results', `server-${revision}-${name}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const options = ['--suite', 'all', '--spec-version', revision, '--timeout', '20000'];
  const args = [suite, 'server', '--url', url, ...options, '--output-dir', folder];
  const { error } = await runProgram(node, args, { limitMs: 100_000 });
  if (error) throw error;
  const scenarios = new Map();
  for (const entry of (await readdir(folder)).sort()) {
    const [, scenario] = /^server-(.+?)-\d{4}-\d\d-\d\dT/.exec(entry);
    if (OF_THE_FRONT.has(scenario)) continue;
    scenarios.set(scenario, JSON.parse(await readFile(join(folder, entry, 'checks.json'), 'utf8')));
  }
  return scenarios;
}

const of = (checks, ...statuses) => checks.filter(({ status }) => statuses.includes(status));

function judge(got, want) {
  assert(of(want, 'SUCCESS').length > 0, 'the fixture alone passed no check');
  assert(got, 'the scenario gave no result');
  const bad = of(got, 'FAILURE', 'WARNING').map((c) => `${c.id}: ${c.errorMessage}`);
  assert(bad.length === 0, bad.join('; '));
  const [passed, passing] = [of(got, 'SUCCESS').length, of(want, 'SUCCESS').length];
  assert(passed === passing, `${passed} checks passed, ${passing} without the gateway`);
}
