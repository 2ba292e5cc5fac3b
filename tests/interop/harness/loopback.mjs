// Preload (`node --import`): a program that would listen on every interface listens on 127.0.0.1,
// and says on stderr which port it got, so that port 0 can be asked of programs that only know PORT.
//
// The hook sits below `listen`: giving `listen` a host instead would make it asynchronous, and the
// conformance suite reads `server.address()` in the same turn.
import net from 'node:net';

const listen = net.Server.prototype._listen2;

net.Server.prototype._listen2 = function (address, port, addressType, backlog, fd, flags) {
  const everywhere = address === null || address === undefined || address === '::';
  const tcp = fd === undefined || fd === null || fd < 0;
  if (!(everywhere && tcp && port >= 0)) {
    return listen.call(this, address, port, addressType, backlog, fd, flags);
  }
  this.once('listening', () => {
    process.stderr.write(`listening on 127.0.0.1:${this.address().port}\n`);
  });
  return listen.call(this, '127.0.0.1', port, 4, backlog, fd, flags);
};

// server-everything writes the time of day into its resources: with one hour, answers compare.
Date.prototype.toLocaleTimeString = () => '12:00:00 PM';
