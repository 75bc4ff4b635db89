// A client on one node publishes without pause, and clients on another node must get everything, each once and in order:
//   node restart.mjs PORT PORT_OF_THE_PUBLISHER
// It asks for the restart of the first node when all clients have got something, and again after the last restart.
import assert from 'node:assert/strict';

import { Scene, TRANSPORTS, ask, hangUp, tell } from './support.mjs';

const [port, other] = process.argv.slice(2).map(Number);
const PACE = 5; // milliseconds between two publications

const backend = new Scene('backend', 'websocket', other);
const publisher = await backend.user('backend');
const readers = await Promise.all(
  TRANSPORTS.map(async (transport) => {
    const scene = new Scene('restart', transport, port);
    const client = await scene.user(`reader-${transport}`);
    const subscription = await scene.subscribed(client, 'chat:load');
    return { scene, transport, subscription };
  }),
);

let last = 0;
const failed = [];
const timer = setInterval(() => {
  last += 1;
  publisher.publish('chat:load', last).catch((error) => failed.push(error));
}, PACE);

const got = (number) => Promise.all(readers.map(({ subscription }) => subscription.log.until((log) => log.data.length >= number)));
await got(50);
for (let restart = 1; restart <= 2; restart += 1) {
  await ask({ do: 'restart' });
  await Promise.all(readers.map(({ subscription }) => subscription.log.next('subscribed', 1 + restart)));
  await got(last + 50);
}
clearInterval(timer);
await got(last);

assert.deepEqual(failed, []);
for (const { scene, transport, subscription } of readers) {
  const { log } = subscription;
  const numbers = Array.from({ length: last }, (_, index) => index + 1);
  const wrong = log.data.findIndex((number, index) => number !== numbers[index]);
  const recovered = log.of('subscribed').slice(1).map((one) => one.recovered);
  tell({ transport, published: last, received: log.data.length, wrong, recovered });
  scene.end();
}
backend.end();
hangUp();
