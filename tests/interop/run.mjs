// The gateway between parts that we did not write. Started by scripts/interop.
//
//   run.mjs [--leg NAME]… [--only REGEX]
//
// | leg                | path under test                                                              |
// |--------------------|------------------------------------------------------------------------------|
// | sdk                | TypeScript SDK v1 client → gateway → server-everything, compared with direct |
// | sdk-v2             | TypeScript SDK v2 client → gateway → a server of both eras, likewise         |
// | conformance-client | raw lines → gateway → the official conformance suite's servers               |
// | conformance-server | the official conformance suite → HTTP front → gateway → a server             |
// | python             | PyPI `mcp` clients → gateway → PyPI `mcp` servers and server-everything      |
// | approvals          | SDK v1 client → gateway → reference workspace → server-everything, gated     |
// | restarted          | raw lines → gateway → PyPI `mcp` 1.16 behind uvicorn, restarted              |
// | sticky             | raw lines → gateway → cookie-sticky balancer → two servers                   |
//
// Prints `ok` or `not ok` for each check and ends with 'N passed, N failed'.
import { parseArgs } from 'node:util';
import { binary } from './harness/gateway.mjs';
import { Leg, within } from './harness/leg.mjs';
import { stopAll } from './harness/process.mjs';

const legs = [
  'sdk', 'sdk-v2', 'conformance-client', 'conformance-server', 'python', 'approvals', 'restarted', 'sticky',
];

const { values } = parseArgs({
  options: { leg: { type: 'string', multiple: true }, only: { type: 'string' } },
});
if (!binary) throw new Error('AEROSTACK_GATEWAY_BIN names no gateway');
const unknown = values.leg?.find((name) => !legs.includes(name));
if (unknown) throw new Error(`no leg '${unknown}': ${legs.join(', ')}`);

// A check that failed may leave promises that nobody awaits any more: its failure has been told.
process.on('unhandledRejection', (error) => console.error(`# left behind: ${error?.message}`));

let passed = 0;
let failed = 0;
for (const name of values.leg ?? legs) {
  const leg = await runLeg(name);
  passed += leg.passed;
  failed += leg.failed;
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function runLeg(name) {
  const leg = new Leg(name, values.only ? new RegExp(values.only) : undefined);
  const { run, expected, limitMs } = await import(`./legs/${name}.mjs`);
  const began = Date.now();
  try {
    await within(limitMs, run(leg), `leg ${name}`);
  } catch (error) {
    leg.fail('runs to its end', error);
  }
  await stopAll();
  const total = leg.passed + leg.failed;
  // A leg that silently ran less than it should is the failure that a count of failures never shows.
  if (!values.only && total !== expected) leg.fail(`runs ${expected} checks`, `ran ${total}`);
  console.log(`# ${name}: ${total} checks in ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
  return leg;
}
