// Loaded before a server that would listen on every address (`node --import`): makes it listen on
// loopback. `server-everything` takes a port from its environment, but no address.

import { Server } from 'node:net';

const { listen } = Server.prototype;

Server.prototype.listen = function listenOnLoopback(port, ...rest) {
  const isPort = typeof port === 'number' || typeof port === 'string';
  return isPort && typeof rest[0] !== 'string'
    ? listen.call(this, Number(port), '127.0.0.1', ...rest)
    : listen.call(this, port, ...rest);
};
