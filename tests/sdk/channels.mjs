// Channels: subscriptions, their tokens, publications, presence, histories, and what a server subscribes to.
import assert from 'node:assert/strict';

import { counted, rejection, token } from './support.mjs';

export async function is_refused_a_channel(scene) {
  const client = await scene.user(scene.id);
  const refused = scene.subscription(client, `closed:${scene.id}`);
  refused.subscribe();
  const end = await refused.log.next('unsubscribed');
  assert.equal(end.code, 103);
  assert.deepEqual(refused.log.of('subscribing').length, 1);
  assert.equal(client.state, 'connected');
}

export async function subscribes_with_a_token(scene) {
  const client = await scene.user(scene.id, { path: 'tokens' });
  const channel = `chat:${scene.id}`;
  const info = { colour: 'red' };
  const claims = { sub: scene.id, channel, info };
  const subscription = await scene.subscribed(client, channel, { token: token(claims) });
  await subscription.publish('hello');
  const { info: from } = await subscription.log.next('publication');
  assert.deepEqual(from.chanInfo, { user: scene.id, colour: 'red' });

  for (const wrong of [{ ...claims, channel: 'other' }, { ...claims, sub: 'somebody-else' }]) {
    const other = scene.subscription(client, `chat:${wrong.channel}-${wrong.sub}-${scene.id}`, { token: token(wrong) });
    other.subscribe();
    assert.equal((await other.log.next('unsubscribed')).code, 103);
  }
  const without = scene.subscription(client, `chat:without-${scene.id}`);
  without.subscribe();
  assert.equal((await without.log.next('unsubscribed')).code, 103);
}

export async function subscription_outlives_its_first_token(scene) {
  const client = await scene.user(scene.id, { path: 'tokens' });
  const channel = `chat:${scene.id}`;
  const getToken = counted((_, context) => token({ sub: scene.id, channel: context.channel }, 4));
  const subscription = await scene.subscribed(client, channel, { getToken });
  await getToken.until(6); // each time after a second, so that the first token has ended
  await subscription.publish('still here');
  assert.equal((await subscription.log.next('publication')).data, 'still here');
  assert.deepEqual(subscription.log.all.map((one) => one.name).filter((one) => one !== 'join'), ['subscribing', 'subscribed', 'publication']);
}

export async function asks_for_a_token_instead_of_an_expired_one_of_a_channel(scene) {
  const client = await scene.user(scene.id, { path: 'tokens' });
  const channel = `chat:${scene.id}`;
  const getToken = async () => token({ sub: scene.id, channel });
  const subscription = scene.subscription(client, channel, { token: token({ sub: scene.id, channel }, -5), getToken });
  subscription.subscribe();
  await subscription.log.next('subscribed');
  assert.deepEqual(subscription.log.of('error').map((one) => one.error.code), [109]);
}

export async function subscribes_anew_after_a_token_that_was_late(scene) {
  const client = await scene.user(scene.id, { path: 'tokens' });
  const channel = `chat:${scene.id}`;
  const getToken = counted((count) => {
    if (count === 1) throw new Error('the back end is away');
    return token({ sub: scene.id, channel });
  });
  const subscription = scene.subscription(client, channel, { token: token({ sub: scene.id, channel }, 2), getToken });
  subscription.subscribe();
  await subscription.log.next('subscribed', 2);
  assert.equal(subscription.log.of('subscribing')[1].code, 2501);
  assert.equal(client.state, 'connected');
}

export async function publishes(scene) {
  const channel = `chat:${scene.id}`;
  const ann = await scene.user(`ann-${scene.id}`, { claims: { info: { name: 'Ann' } } });
  const bob = await scene.user(`bob-${scene.id}`);
  const [own, others] = [await scene.subscribed(ann, channel), await scene.subscribed(bob, channel)];
  const messages = [
    { text: 'two\nlines' }, '🦜', 'a "quoted" \\ text', 17.5, null, true, [], [1, { a: null }], {}, '', '{"a":1', 'é'.repeat(50_000),
  ];
  for (const message of messages) await own.publish(message);
  for (const { log } of [own, others]) {
    await log.next('publication', messages.length);
    assert.deepEqual(log.data, messages);
  }
  const [first, second] = others.log.of('publication');
  const client = ann.log.of('connected')[0].client;
  assert.deepEqual(first.info, { client, user: `ann-${scene.id}`, connInfo: { name: 'Ann' }, chanInfo: { user: `ann-${scene.id}` } });
  assert.equal(second.offset, first.offset + 1);

  // Without being subscribed, and where nobody may.
  const eve = await scene.user(`eve-${scene.id}`);
  await eve.publish(channel, 'from outside');
  await others.log.until((log) => log.data.includes('from outside'));
  assert.equal((await rejection(eve.publish(`closed:${scene.id}`, 'x'))).code, 103);
  assert.equal(eve.state, 'connected');
}

export async function many_publications_stay_in_order(scene) {
  const channel = `chat:${scene.id}`;
  const [ann, bob] = [await scene.user(scene.id), await scene.user(`bob-${scene.id}`)];
  const subscription = await scene.subscribed(bob, channel);
  const numbers = Array.from({ length: 200 }, (_, number) => number);
  await Promise.all(numbers.map((number) => ann.publish(channel, number)));
  await subscription.log.next('publication', numbers.length);
  // An SDK over plain HTTP sends each batch as a request of its own, which may overtake an earlier one.
  const got = scene.transport === 'websocket' ? subscription.log.data : [...subscription.log.data].sort((a, b) => a - b);
  assert.deepEqual(got, numbers);
}

export async function knows_who_is_present(scene) {
  const channel = `chat:${scene.id}`;
  const [ann, bob] = [await scene.user('ann'), await scene.user('bob', { claims: { info: { name: 'Bob' } } })];
  const own = await scene.subscribed(ann, channel);
  const others = await scene.subscribed(bob, channel);
  const bobs = bob.log.of('connected')[0].client;
  const info = { client: bobs, user: 'bob', connInfo: { name: 'Bob' }, chanInfo: { user: 'bob' } };
  await own.log.until((log) => log.of('join').find((one) => one.info.user === 'bob'));
  assert.deepEqual(own.log.of('join').find((one) => one.info.user === 'bob').info, info);
  const { clients } = await own.presence();
  assert.deepEqual({ ...clients[bobs], ...info }, clients[bobs]);
  assert.equal(Object.keys(clients).length, 2);
  assert.deepEqual(await own.presenceStats(), { numClients: 2, numUsers: 2 });

  others.unsubscribe();
  const left = await own.log.next('leave');
  assert.deepEqual([left.info.user, left.info.client], ['bob', bobs]);
  assert.deepEqual(await own.presenceStats(), { numClients: 1, numUsers: 1 });
  others.subscribe();
  await own.log.until((log) => log.of('join').filter((one) => one.info.user === 'bob').length === 2);
  bob.disconnect();
  await own.log.next('leave', 2);

  assert.equal((await rejection((await scene.subscribed(ann, `bare:${scene.id}`)).presence())).code, 108);
  assert.equal((await rejection(ann.presence(`chat:not-${scene.id}`))).code, 103);
}

export async function reads_a_history(scene) {
  const client = await scene.user(scene.id);
  const subscription = await scene.subscribed(client, `chat:${scene.id}`);
  for (const number of [1, 2, 3, 4]) await subscription.publish(number);
  const all = await subscription.history({ limit: -1 });
  assert.deepEqual(all.publications.map((one) => one.data), [1, 2, 3, 4]);
  assert.deepEqual([all.publications[0].info.user, all.offset], [scene.id, all.publications[3].offset]);
  const { offset, epoch } = all;
  assert.deepEqual(await subscription.history({ limit: 0 }), { publications: [], epoch, offset });
  const since = { offset: all.publications[0].offset, epoch };
  const data = async (options) => (await subscription.history(options)).publications.map((one) => one.data);
  assert.deepEqual(await data({ since, limit: 2 }), [2, 3]);
  assert.deepEqual(await data({ limit: 3, reverse: true }), [4, 3, 2]);
  assert.equal((await rejection(data({ since: { offset: 1, epoch: 'other' }, limit: 5 }))).code, 112);
  assert.equal((await rejection((await scene.subscribed(client, `bare:${scene.id}`)).history({ limit: 1 }))).code, 108);
}

export async function calls_and_sends(scene) {
  const client = await scene.user(scene.id);
  assert.deepEqual(await client.rpc('echo', { a: [1, '🦜'] }), { data: { a: [1, '🦜'] } });
  assert.equal((await rejection(client.rpc('unknown', 1))).code, 103);
  await client.send({ text: 'just so' });
  assert.deepEqual((await client.log.next('message')).data, { heard: { text: 'just so' } });
}

export async function is_subscribed_by_the_server(scene) {
  const claims = { channels: [`claimed:${scene.id}`] };
  const client = await scene.user(scene.id, { claims });
  const names = client.log.of('subscribed').map((one) => one.channel);
  assert.deepEqual(names.sort(), [`claimed:${scene.id}`, 'news', `user:${scene.id}`]);
  const news = client.log.of('subscribed').find((one) => one.channel === 'news');
  assert.equal(news.recoverable, true);
  const backend = await scene.user('backend');
  await backend.publish(`user:${scene.id}`, 'for you');
  await backend.publish(`claimed:${scene.id}`, 'as you claim');
  const got = await client.log.until((log) => log.of('publication').length === 2 && log.of('publication'));
  // There is no order among channels.
  const found = Object.fromEntries(got.map((one) => [one.channel, one.data]));
  assert.deepEqual(found, { [`user:${scene.id}`]: 'for you', [`claimed:${scene.id}`]: 'as you claim' });
}

export async function is_subscribed_with_data(scene) {
  const channel = `chat:${scene.id}`;
  const subs = { [channel]: { info: { role: 'guest' }, data: { welcome: true } } };
  const client = await scene.user(scene.id, { claims: { subs } });
  const subscribed = client.log.of('subscribed').find((one) => one.channel === channel);
  assert.deepEqual(subscribed.data, { welcome: true });
  await client.publish(channel, 'hi');
  const { info } = await client.log.next('publication');
  assert.deepEqual(info.chanInfo, { user: scene.id, role: 'guest' });
}

export async function unsubscribes_and_returns(scene) {
  const channel = `chat:${scene.id}`;
  const [client, other] = [await scene.user(scene.id), await scene.user(`other-${scene.id}`)];
  const subscription = await scene.subscribed(client, channel);
  const watched = await scene.subscribed(other, channel);
  await watched.publish('before');
  await subscription.log.next('publication');
  subscription.unsubscribe();
  assert.equal(subscription.log.of('unsubscribed')[0].code, 0);
  await watched.log.next('leave');
  await watched.publish('while away');
  await watched.log.next('publication', 2);
  subscription.subscribe();
  await subscription.log.next('subscribed', 2);
  await watched.publish('after');
  await subscription.log.until((log) => log.data.at(-1) === 'after');
  return subscription.log.data;
}
