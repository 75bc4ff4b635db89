// Clients of the SDK, tokens, and waiting for what must happen. Nothing here waits for a fixed time.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { EventEmitter } from 'node:events';
import net from 'node:net';
import readline from 'node:readline';

import { Centrifuge } from 'centrifuge';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

export const TRANSPORTS = ['websocket', 'sse', 'http_stream'];
const KEY = process.env.KEY;
const PATIENCE = 15_000;

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token that ends in so many seconds. */
export function token(claims, seconds = 600, key = KEY) {
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ exp, ...claims })}`;
  return `${signed}.${crypto.createHmac('sha256', key).update(signed).digest('base64url')}`;
}

/** Call `make` with the number of the call, from 1. `until(n)` waits for the nth call. */
export function counted(make) {
  const calls = new EventEmitter();
  const log = new Log(calls, ['call']);
  const call = async (context) => {
    calls.emit('call', {});
    return make(log.all.length, context);
  };
  return Object.assign(call, { until: (count) => log.next('call', count), count: () => log.all.length });
}

/** What has happened to a client or a subscription, in order. */
export class Log {
  constructor(emitter, names) {
    this.all = [];
    this.waiting = new Set();
    for (const name of names) {
      emitter.on(name, (context) => {
        this.all.push({ name, ...context });
        for (const look of this.waiting) look();
      });
    }
  }

  of(name) {
    return this.all.filter((one) => one.name === name);
  }

  get data() {
    return this.of('publication').map((one) => one.data);
  }

  /** Wait until `holds(this)` is true, and return that. */
  until(holds, what = String(holds)) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = holds(this);
        if (!found) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(found);
      };
      const timer = setTimeout(() => {
        this.waiting.delete(look);
        reject(new Error(`not in time: ${what}; but ${JSON.stringify(this.all.slice(-12)).slice(-2000)}`));
      }, PATIENCE);
      this.waiting.add(look);
      look();
    });
  }

  /** Wait for the nth event with a name. */
  next(name, count = 1) {
    return this.until(() => this.of(name)[count - 1], `${name} ${count}`);
  }
}

const CLIENT_EVENTS = [
  'connecting', 'connected', 'disconnected', 'error', 'message',
  'subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave',
];
const SUBSCRIPTION_EVENTS = ['subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave', 'error'];

/** One run of one scenario: makes its clients, and ends them afterwards. */
export class Scene {
  constructor(name, transport, port) {
    this.id = `${name}-${transport}`.replaceAll('_', '-');
    this.transport = transport;
    this.port = port;
    this.ends = [];
  }

  /** A client that is not connected yet. */
  client(path, options = {}, { port = this.port, transport = this.transport } = {}) {
    const scheme = transport === 'websocket' ? 'ws' : 'http';
    const made = new Centrifuge([{ transport, endpoint: `${scheme}://127.0.0.1:${port}/${path}/${transport}` }], {
      websocket: WebSocket,
      eventsource: EventSource,
      emulationEndpoint: `http://127.0.0.1:${port}/emulation`,
      minReconnectDelay: 20,
      maxReconnectDelay: 200,
      ...options,
    });
    made.log = new Log(made, CLIENT_EVENTS);
    this.ends.push(() => made.disconnect());
    return made;
  }

  /** A connected client of a user. */
  async user(name, { path = 'connection', claims = {}, ...place } = {}) {
    const made = this.client(path, { token: token({ sub: name, ...claims }) }, place);
    made.connect();
    await made.ready(PATIENCE);
    return made;
  }

  subscription(client, channel, options = {}) {
    const made = client.newSubscription(channel, { minResubscribeDelay: 20, maxResubscribeDelay: 200, ...options });
    made.log = new Log(made, SUBSCRIPTION_EVENTS);
    return made;
  }

  /** A subscription that is answered. */
  async subscribed(client, channel, options = {}) {
    const made = this.subscription(client, channel, options);
    made.subscribe();
    await made.ready(PATIENCE);
    return made;
  }

  /** A connection to the server that can be cut. */
  async line() {
    const line = new Line(this.port);
    await line.open();
    this.ends.push(() => line.cut());
    return line;
  }

  /** Call the server API, as a back end does. */
  async api(method, request) {
    const response = await fetch(`http://127.0.0.1:${this.port}/api/${method}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-API-Key': KEY },
      body: JSON.stringify(request),
    });
    const { result, error } = await response.json();
    assert.equal(error, undefined);
    return result;
  }

  end() {
    for (const end of this.ends.reverse()) end();
  }
}

/** A TCP proxy whose connections break without a word, as in a tunnel. */
export class Line {
  constructor(target) {
    this.target = target;
    this.port = 0;
    this.sockets = new Set();
  }

  open() {
    this.server = net.createServer((socket) => {
      const other = net.connect(this.target, '127.0.0.1');
      for (const one of [socket, other]) {
        this.sockets.add(one);
        one.on('error', () => {});
        one.on('close', () => {
          this.sockets.delete(one);
          socket.destroy();
          other.destroy();
        });
      }
      socket.pipe(other).pipe(socket);
    });
    return new Promise((resolve) => {
      this.server.listen(this.port, '127.0.0.1', () => {
        this.port = this.server.address().port;
        resolve();
      });
    });
  }

  cut() {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** Wait for the rejection of a promise, and return its reason. */
export async function rejection(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  assert.fail(`it has not failed: ${JSON.stringify(value)}`);
}

// What only the test can do: it reads requests from our output, and answers on our input.

const answers = [];
const input = readline.createInterface({ input: process.stdin });
input.on('line', (line) => answers.shift()(JSON.parse(line)));

export function ask(request) {
  return new Promise((resolve) => {
    answers.push(resolve);
    tell({ ask: request });
  });
}

export function tell(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

export function hangUp() {
  input.close();
}
