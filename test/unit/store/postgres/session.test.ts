import { EventEmitter } from 'node:events';
import type { Client } from 'pg';
import { test } from 'tap';
import { Session, SessionClosedError } from '../../../../src/store/postgres/session.ts';
import { WeakCrowd } from '../../../support/garbage.ts';

const ANSWER_MS = 10_000;

/** A connection that says nothing, with what destroy() and close() want of it. */
class SilentClient extends EventEmitter {
  destroyed = false;
  ended = false;
  readonly connection = { stream: { destroy: () => (this.destroyed = true) } };

  end(): Promise<void> {
    this.ended = true;
    return Promise.resolve();
  }
}

function open(answerMs = ANSWER_MS): { session: Session; clients: SilentClient[] } {
  const clients: SilentClient[] = [];
  const connect = (): Promise<Client> => {
    const client = new SilentClient();
    clients.push(client);
    return Promise.resolve(client as unknown as Client);
  };
  return { session: new Session(connect, answerMs), clients };
}

void test('keeps nothing of what it answered', async (t) => {
  const { session } = open();
  const answers = new WeakCrowd();
  for (let call = 0; call < 100; call += 1) {
    answers.add(await session.run(() => Promise.resolve({ call })));
  }
  t.equal(await answers.alive(), 0);
  await session.close();
});

void test('calls take their turn on one connection', async (t) => {
  const { session, clients } = open();
  const order: string[] = [];
  const call = (name: string): Promise<void> =>
    session.run(async () => {
      order.push(`${name} begins`);
      await new Promise(setImmediate);
      order.push(`${name} ends`);
    });
  await Promise.all([call('a'), call('b')]);
  t.strictSame(order, ['a begins', 'a ends', 'b begins', 'b ends']);
  t.equal(clients.length, 1);
  await session.close();
  t.ok(clients[0].ended);
});

void test('a call that fails or gets no answer costs its connection; the next one has a new one', async (t) => {
  const { session, clients } = open(20);
  await t.rejects(
    session.run(() => Promise.reject(new Error('scripted'))),
    { message: 'scripted' },
  );
  await t.rejects(
    session.run(() => new Promise(() => {})),
    { message: /no answer/ },
  );
  t.equal(await session.run(() => Promise.resolve(7)), 7);
  t.strictSame(
    clients.map(({ destroyed }) => destroyed),
    [true, true, false],
  );
  await session.close();
});

void test('closing ends what is under way and what waits, and later calls', async (t) => {
  const { session, clients } = open();
  const calls = [session.run(() => new Promise(() => {})), session.run(() => Promise.resolve())];
  await new Promise(setImmediate);
  const closing = session.close();
  for (const call of calls) await t.rejects(call, SessionClosedError);
  await closing;
  await t.rejects(
    session.run(() => Promise.resolve()),
    SessionClosedError,
  );
  t.ok(clients[0].destroyed);
});
