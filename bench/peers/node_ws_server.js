// node `ws` with bufferutil. A broadcast is the loop of its manual; `encoded` as argument: the frame is made once, with
// what the library uses inside. `compressed`: permessage-deflate is on, for messages of any size. `tls CERTIFICATE KEY`: TLS.
const { readFileSync } = require('fs');
const http = require('http');
const https = require('https');
const { Sender, WebSocket, WebSocketServer } = require('ws');

const port = Number(process.argv[2]);
const encoded = process.argv.includes('encoded');
const compressed = process.argv.includes('compressed') ? { threshold: 0 } : false;
const [kind, cert, key] = process.argv.slice(3);
const server = kind === 'tls'
  ? https.createServer({ cert: readFileSync(cert), key: readFileSync(key) })
  : http.createServer();
const acceptor = new WebSocketServer({ noServer: true, perMessageDeflate: compressed });
const channels = new Map();

function membersOf(path) {
  if (!channels.has(path)) channels.set(path, new Set());
  return channels.get(path);
}

function broadcast(members, data, binary) {
  if (encoded) {
    const options = { fin: true, rsv1: false, opcode: binary ? 2 : 1, mask: false, readOnly: true };
    const frame = Buffer.concat(Sender.frame(data, options));
    for (const member of members) if (member.readyState === WebSocket.OPEN) member._socket.write(frame);
  } else {
    for (const member of members) if (member.readyState === WebSocket.OPEN) member.send(data, { binary });
  }
}

server.on('upgrade', (request, socket, head) => acceptor.handleUpgrade(request, socket, head, (client) => {
  client.on('error', () => {});
  if (request.url === '/echo') {
    client.on('message', (data, binary) => client.send(data, { binary }));
    return;
  }
  const members = membersOf(request.url);
  members.add(client);
  client.on('close', () => members.delete(client));
  client.on('message', (data, binary) => broadcast(members, data, binary));
}));
server.listen({ port, host: '127.0.0.1', backlog: 1024 });
