// Clients on each transport follow a channel, while others publish 1, 2, 3 … and the server changes:
//   node follow.mjs PORT
// It asks for that when all are subscribed. The answer is the last number, up to which everybody must get all in order.
import { Scene, TRANSPORTS, ask, hangUp, tell } from './support.mjs';

const port = Number(process.argv[2]);
const readers = await Promise.all(
  [...TRANSPORTS, ...TRANSPORTS, ...TRANSPORTS].map(async (transport, number) => {
    const scene = new Scene(`follow-${number}`, transport, port);
    const client = await scene.user(`reader-${number}`);
    const subscription = await scene.subscribed(client, 'chat:load');
    return { scene, transport, log: subscription.log };
  }),
);
const last = await ask({ do: 'publish' });
for (const { scene, transport, log } of readers) {
  await log.until((one) => one.data.length >= last);
  const wrong = log.data.findIndex((number, index) => number !== index + 1);
  const recovered = log.of('subscribed').slice(1).map((one) => one.recovered);
  tell({ transport, received: log.data.length, wrong, recovered });
  scene.end();
}
hangUp();
