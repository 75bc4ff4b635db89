// Clients over plain HTTP whose commands arrive at any worker process:
//   node workers.mjs PORT
import assert from 'node:assert/strict';

import { Scene, hangUp, tell } from './support.mjs';

const CLIENTS = 8;
const port = Number(process.argv[2]);

async function converse(transport, number) {
  const scene = new Scene(`worker-${number}`, transport, port);
  const client = await scene.user(scene.id);
  const subscription = await scene.subscribed(client, `chat:${scene.id}`);
  for (const word of ['one', 'two', 'three']) {
    assert.deepEqual(await client.rpc('echo', word), { data: word });
    await subscription.publish(word);
  }
  await subscription.log.next('publication', 3);
  assert.deepEqual(subscription.log.data, ['one', 'two', 'three']);
  assert.deepEqual(Object.keys((await subscription.presence()).clients), [client.log.of('connected')[0].client]);
  assert.equal(client.log.of('connecting').length, 1);
  scene.end();
}

for (const transport of ['sse', 'http_stream']) {
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => converse(transport, number)));
  tell({ transport });
}
hangUp();
