// A connection breaks, and the client returns to what it has missed.
import assert from 'node:assert/strict';

import { counted } from './support.mjs';

// A client behind a line that can be cut, its subscription, and a client that publishes.
async function parts(scene, channel) {
  const line = await scene.line();
  const client = await scene.user(scene.id, { port: line.port });
  const subscription = await scene.subscribed(client, channel);
  const publisher = await scene.user('backend');
  await publisher.publish(channel, 0);
  await subscription.log.next('publication');
  return { line, client, subscription, publisher };
}

export async function recovers_without_a_gap(scene) {
  const channel = `chat:${scene.id}`;
  const { line, client, subscription, publisher } = await parts(scene, channel);
  line.cut();
  await subscription.log.next('subscribing', 2);
  for (const number of [1, 2, 3]) await publisher.publish(channel, number);
  await publisher.publish(`user:${scene.id}`, 'meanwhile');
  await line.open();
  const back = await subscription.log.next('subscribed', 2);
  await publisher.publish(channel, 4);
  await publisher.publish(`user:${scene.id}`, 'then');
  await subscription.log.until((log) => log.data.at(-1) === 4);
  assert.deepEqual(subscription.log.data, [0, 1, 2, 3, 4]);
  assert.deepEqual([back.wasRecovering, back.recovered], [true, true]);
  // The same for a channel that the server has subscribed the client to.
  await client.log.until((log) => log.data.at(-1) === 'then');
  assert.deepEqual(client.log.data, ['meanwhile', 'then']);
  const own = client.log.of('subscribed').filter((one) => one.channel === `user:${scene.id}`);
  assert.deepEqual(own.map((one) => one.recovered), [false, true]);
}

export async function is_told_about_a_gap(scene) {
  const channel = `short:${scene.id}`; // keeps five
  const { line, subscription, publisher } = await parts(scene, channel);
  line.cut();
  await subscription.log.next('subscribing', 2);
  for (let number = 1; number <= 8; number += 1) await publisher.publish(channel, number);
  await line.open();
  const back = await subscription.log.next('subscribed', 2);
  assert.deepEqual([back.wasRecovering, back.recovered], [true, false]);
  await publisher.publish(channel, 9);
  await subscription.log.until((log) => log.data.at(-1) === 9);
  assert.deepEqual(subscription.log.data, [0, 9]);
}

export async function recovers_from_a_position_that_it_kept(scene) {
  const channel = `chat:${scene.id}`;
  const { subscription, publisher } = await parts(scene, channel);
  const since = subscription.log.of('subscribed')[0].streamPosition;
  const page = await scene.user(`later-${scene.id}`);
  const later = await scene.subscribed(page, channel, { since });
  await publisher.publish(channel, 1);
  await later.log.next('publication', 2);
  assert.deepEqual(later.log.data, [0, 1]);
  assert.equal(later.log.of('subscribed')[0].recovered, true);
}

export async function reads_its_state_anew_after_a_gap(scene) {
  const channel = `short:${scene.id}`; // keeps five
  const line = await scene.line();
  const client = await scene.user(scene.id, { port: line.port });
  const publisher = await scene.user('backend');
  await publisher.publish(channel, 0);
  const getState = counted(async () => {
    const { offset, epoch } = await scene.api('history', { channel });
    return { offset, epoch };
  });
  const subscription = await scene.subscribed(client, channel, { getState });
  line.cut();
  await subscription.log.next('subscribing', 2);
  for (let number = 1; number <= 8; number += 1) await publisher.publish(channel, number);
  await line.open();
  await subscription.log.next('subscribed', 2);
  await publisher.publish(channel, 9);
  await subscription.log.until((log) => log.data.at(-1) === 9);
  assert.deepEqual([getState.count(), subscription.log.data], [2, [9]]);
}
