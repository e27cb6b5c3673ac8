// A small HTTP proxy: forwards requests with a whole URL, and opens tunnels. Every host that it is
// asked for is this machine, so that tests can name hosts that are not.
import http from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

export interface TestProxy {
  /** As a setting, without a login. */
  readonly url: string;
  /** The first line of each request, as `CONNECT host:port`. */
  readonly asked: string[];
  /** What it could read of the requests that it forwarded: their Authorization. */
  readonly read: (string | undefined)[];
  /** Null takes everybody. */
  login: string | null;
  close(): Promise<void>;
}

const LOCAL = '127.0.0.1';

export async function startProxy(): Promise<TestProxy> {
  const asked: string[] = [];
  const read: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  const isAllowed = ({ headers }: http.IncomingMessage): boolean =>
    proxy.login === null ||
    headers['proxy-authorization'] === `Basic ${Buffer.from(proxy.login).toString('base64')}`;
  const server = http.createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    read.push(request.headers.authorization);
    if (!isAllowed(request)) {
      response.writeHead(407).end('log in to the proxy');
      return;
    }
    const { port, pathname, search } = new URL(request.url ?? '');
    const { 'proxy-authorization': _login, ...headers } = request.headers;
    const onward = http.request(
      { host: LOCAL, port, path: pathname + search, method: request.method, headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on('error', () => response.writeHead(502).end());
    request.pipe(onward);
  });
  server.on('connect', (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
    asked.push(`CONNECT ${request.url}`);
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    if (!isAllowed(request)) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    const onward = connect(Number(/\d+$/.exec(request.url ?? '')?.[0]), LOCAL, () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      if (head.length > 0) onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    sockets.add(onward);
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
  });
  await new Promise<void>((listens) => server.listen(0, LOCAL, listens));
  const proxy: TestProxy = {
    url: `http://${LOCAL}:${(server.address() as AddressInfo).port}`,
    asked,
    read,
    login: null,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
  return proxy;
}
