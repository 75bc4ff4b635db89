// Connections: with and without a token, with data, tokens that end, and the end of a connection.
import assert from 'node:assert/strict';

import { UnauthorizedError } from 'centrifuge';

import { ask, counted, token } from './support.mjs';

export async function connects_without_a_token(scene) {
  const client = scene.client('open');
  client.connect();
  const connected = await client.log.next('connected');
  assert.equal(connected.transport, scene.transport);
  assert.match(connected.client, /./);
  client.disconnect();
  assert.deepEqual(client.log.of('disconnected').map((one) => one.code), [0]);
}

export async function connects_with_data(scene) {
  const client = scene.client('data', { data: { word: 'sesame' } });
  client.connect();
  await client.log.next('connected');
}

export async function is_refused_for_its_data(scene) {
  const client = scene.client('data', { data: { word: 'barley' } });
  client.connect();
  const end = await client.log.next('disconnected');
  assert.equal(end.code, 3507);
  assert.equal(client.log.of('connecting').length, 1);
}

export async function connects_with_a_token(scene) {
  const client = await scene.user(scene.id);
  assert.equal(client.state, 'connected');
}

export async function is_refused_without_a_token(scene) {
  const client = scene.client('connection');
  client.connect();
  const end = await client.log.next('disconnected');
  assert.equal(end.code, 3500);
}

export async function is_refused_with_an_invalid_token(scene) {
  const client = scene.client('connection', { token: token({ sub: scene.id }, 600, 'another key') });
  client.connect();
  const end = await client.log.next('disconnected');
  assert.equal(end.code, 3500);
  assert.equal(client.log.of('connecting').length, 1);
  assert.equal(client.state, 'disconnected');
}

export async function asks_for_a_token_instead_of_an_expired_one(scene) {
  const getToken = counted(() => token({ sub: scene.id }));
  const client = scene.client('connection', { token: token({ sub: scene.id }, -5), getToken });
  client.connect();
  await client.log.next('connected');
  assert.equal(getToken.count(), 1);
  assert.deepEqual(client.log.of('error').map((one) => one.error.code), [109]);
  assert.deepEqual(client.log.of('disconnected'), []);
}

export async function outlives_its_first_token(scene) {
  const getToken = counted(() => token({ sub: scene.id }, 4));
  const client = scene.client('connection', { token: token({ sub: scene.id }, 4), getToken });
  client.connect();
  await getToken.until(5); // each time after a second, so that the first token has ended
  await client.rpc('echo', 'still here');
  assert.deepEqual([client.log.of('connecting').length, client.log.of('connected').length], [1, 1]);
}

export async function returns_after_a_token_that_was_late(scene) {
  const getToken = counted((count) => {
    if (count === 1) throw new Error('the back end is away');
    return token({ sub: scene.id });
  });
  const client = scene.client('connection', { token: token({ sub: scene.id }, 2), getToken });
  client.connect();
  await client.log.next('connected', 2);
  assert.equal(client.log.of('connecting')[1].code, 3005);
  assert.deepEqual(client.log.of('disconnected'), []);
  assert.equal(getToken.count(), 2);
}

export async function ends_when_there_is_no_further_token(scene) {
  const getToken = async () => { throw new UnauthorizedError('logged out'); };
  const client = scene.client('connection', { token: token({ sub: scene.id }, 4), getToken });
  client.connect();
  assert.equal((await client.log.next('disconnected')).code, 1);
}

export async function is_refused_with_the_token_of_another_user(scene) {
  const getToken = async () => token({ sub: 'somebody-else' });
  const client = scene.client('connection', { token: token({ sub: scene.id }, 4), getToken });
  client.connect();
  const end = await client.log.next('disconnected');
  assert.equal(end.code, 3500);
}

export async function is_kicked(scene) {
  const client = await scene.user(scene.id);
  assert.equal(await ask({ do: 'kick', user: scene.id }), 0);
  const end = await client.log.next('disconnected');
  assert.deepEqual([end.code, end.reason], [3503, 'kicked']);
  assert.equal(client.log.of('connecting').length, 1);
}

export async function returns_if_it_is_told_so(scene) {
  const client = await scene.user(scene.id);
  assert.equal(await ask({ do: 'kick', user: scene.id, code: 4000, reason: 'moved' }), 0);
  await client.log.next('connected', 2);
  const again = client.log.of('connecting')[1];
  assert.deepEqual([again.code, again.reason], [4000, 'moved']);
}
