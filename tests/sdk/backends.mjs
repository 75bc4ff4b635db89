// What a back end does through the server API, as clients see it.
import assert from 'node:assert/strict';

export async function gets_a_channel_for_a_while(scene) {
  const client = await scene.user(scene.id);
  const channel = `given:${scene.id}`;
  await scene.api('subscribe', { user: scene.id, channel });
  const subscribed = await client.log.until((log) => log.of('subscribed').find((one) => one.channel === channel));
  assert.equal(subscribed.recoverable, true);
  const { offset } = await scene.api('publish', { channel, data: { text: 'for you' } });
  const publication = await client.log.next('publication');
  assert.deepEqual([publication.data, publication.offset], [{ text: 'for you' }, offset]);
  await scene.api('unsubscribe', { user: scene.id, channel });
  assert.equal((await client.log.next('unsubscribed')).channel, channel);
  assert.equal(client.state, 'connected');
}

export async function loses_its_subscription(scene) {
  const client = await scene.user(scene.id);
  const subscription = await scene.subscribed(client, `chat:${scene.id}`);
  const { presence } = await scene.api('presence', { channel: `chat:${scene.id}` });
  assert.deepEqual(Object.keys(presence), [client.log.of('connected')[0].client]);
  await scene.api('unsubscribe', { user: scene.id, channel: `chat:${scene.id}` });
  assert.equal((await subscription.log.next('unsubscribed')).code, 2000);
}

export async function loses_its_connection(scene) {
  const client = await scene.user(scene.id);
  await scene.api('disconnect', { user: scene.id });
  assert.equal((await client.log.next('disconnected')).code, 3503);
}

// The SDK does not read the push about another end. It returns when the connection has ended.
export async function returns_after_another_end(scene) {
  const client = await scene.user(scene.id);
  await scene.api('refresh', { user: scene.id, expired: true });
  await client.log.next('connected', 2);
  await scene.api('refresh', { user: scene.id, expire_at: Math.floor(Date.now() / 1000) + 2 });
  await client.log.next('connected', 3);
  assert.deepEqual(client.log.of('connecting').map((one) => one.code), [0, 3005, 3005]);
}
