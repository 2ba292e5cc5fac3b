// Raw lines → gateway → a balancer that is sticky by a cookie → two processes of a server made with the
// official packages, each of which knows its own sessions alone.
import { StdioPeer } from '../harness/gateway.mjs';
import { assert, assertSame } from '../harness/leg.mjs';
import { startBalancer } from '../servers/balancer.mjs';

export const expected = 5;
export const limitMs = 90_000;

const CALLS = 20;
const VERSION = '2025-11-25';

export async function run(leg) {
  const balancer = await startBalancer(2);
  const peer = new StdioPeer(balancer.url);
  const call = () => peer.request('tools/call', { name: 'test_simple_text', arguments: {} });

  await leg.check('the session opens: only its first request comes without the cookie', async () => {
    await peer.initialize(VERSION);
    await peer.request('tools/list');
    assert(balancer.seen.loose === 1, `${balancer.seen.loose} requests without the cookie`);
  });
  const first = await leg.check('one call after the other, all at the same backend', async () => {
    const answer = await call();
    for (let n = 1; n < CALLS; n += 1) assertSame(await call(), answer);
    assert(balancer.seen.loose === 1, `${balancer.seen.loose} requests without the cookie`);
    return answer;
  });
  await leg.check('many calls at once', async () => {
    const answers = await Promise.all(Array.from({ length: CALLS }, call));
    answers.forEach((answer) => assertSame(answer, first));
    assert(balancer.seen.loose === 1, `${balancer.seen.loose} requests without the cookie`);
  });
  await leg.check('a backend dies: the session is opened again at the other one', async () => {
    const gone = balancer.backends[0];
    await gone.program.stop(0);
    assertSame(await call(), first);
    assertSame(await call(), first);
  });
  await leg.check('nothing else on stdout, and a clean end', async () => {
    assertSame([peer.garbage, peer.strays], [[], []]);
    const { code } = await peer.close();
    assert(code === 0, `exit code ${code}`);
  });
  balancer.stop();
}
