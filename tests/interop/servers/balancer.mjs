// A load balancer that keeps a client on one backend by a cookie, as AWS, nginx and HAProxy do: without
// the cookie the backends take turns. It counts what comes with the cookie and what without.
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { startFixture } from './start-fixture.mjs';

export async function startBalancer(size) {
  const backends = await Promise.all(Array.from({ length: size }, startFixture));
  backends.forEach((backend) => (backend.cookie = `route-${randomUUID()}`));
  const seen = { stuck: 0, loose: 0 };
  let turn = 0;

  const server = http.createServer((request, response) => {
    const alive = backends.filter(({ program }) => !program.end);
    const sent = request.headers.cookie?.split('; ') ?? [];
    const known = alive.find(({ cookie }) => sent.includes(`BACKEND=${cookie}`));
    seen[known ? 'stuck' : 'loose'] += 1;
    const backend = known ?? alive[turn++ % alive.length];
    const { method, headers, url } = request;
    const onward = http.request(new URL(url, backend.url), { method, headers }, (answer) => {
      const cookie = `BACKEND=${backend.cookie}; Path=/; HttpOnly`;
      response.writeHead(answer.statusCode, { ...answer.headers, ...(known ? {} : { 'set-cookie': cookie }) });
      response.flushHeaders();
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    backends,
    seen,
    url: `http://127.0.0.1:${server.address().port}/mcp`,
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}
