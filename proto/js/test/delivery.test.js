import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bucket, Inbox, Outboxes } from '../delivery.js';

const [ADA, BEN] = ['p_a', 'p_b'];

function outboxes(limits) {
  const out = new Outboxes();
  Object.assign(out.limits, limits);
  out.sent = (now = 0) => {
    const ids = [];
    for (let text = out.next(now); text; text = out.next(now)) ids.push(JSON.parse(text).id);
    return ids;
  };
  out.fill = (to, count, payload = 1) => Array.from({ length: count }, () => out.push(to, { kind: 'n', payload }));
  return out;
}

test('the window: so many, so many bytes, then it waits', async () => {
  const out = outboxes({ unacked_max: 3 });
  const [first] = out.fill(ADA, 5);
  assert.deepEqual(out.sent(), [1, 2, 3]);
  out.delivered(ADA, 2);
  await first;
  assert.deepEqual(out.sent(), [4, 5]);

  const big = outboxes({ unacked_bytes_max: 250 });
  big.fill(ADA, 4, 'x'.repeat(90)); // [payload, connection] are 99 bytes
  assert.deepEqual(big.sent(), [1, 2]);
  big.delivered(ADA, 1);
  assert.deepEqual(big.sent(), [3]);
});

test('receivers take turns', () => {
  const out = outboxes();
  out.fill(ADA, 3);
  out.fill(BEN, 3);
  const to = Array.from({ length: 6 }, () => JSON.parse(out.next(0)).to);
  assert.deepEqual(to, [ADA, BEN, ADA, BEN, ADA, BEN]);
});

test('busy pauses that receiver alone, from that id', () => {
  const out = outboxes();
  out.fill(ADA, 4);
  out.fill(BEN, 1);
  out.sent();
  out.refused({ code: 'busy', to: ADA, id: 2, retry_after_ms: 100 }, 0);
  for (const id of [3, 4]) out.refused({ code: 'bad_id', to: ADA, id }, 1); // those behind it
  out.fill(BEN, 1);
  assert.deepEqual(out.sent(50), [2]);
  assert.equal(out.wakeAt(50), 100);
  assert.deepEqual(out.sent(100), [2, 3, 4]);
});

test('a rewind sends what is held and nothing else', () => {
  const out = outboxes();
  out.fill(ADA, 4);
  out.sent();
  out.delivered(ADA, 2);
  out.rewind();
  assert.deepEqual(out.sent(), [3, 4]);
  out.delivered(ADA, 2); // said again
  assert.deepEqual(out.sent(), []);
});

test('the inbox does not wait for what its sender has given up', () => {
  const box = new Inbox();
  assert.ok([1, 2].every((id) => box.take(ADA, id)));
  assert.equal(box.take(ADA, 7, 5), false, '6 is on its way');
  assert.deepEqual([6, 7, 4].map((id) => box.take(ADA, id, id > 5 ? 5 : 3)), [true, true, false]);
  assert.deepEqual(box.marks(), { [ADA]: 7 });
});

test('the inbox takes each once and in order, and acknowledges again', () => {
  const box = new Inbox();
  const acks = () => Array.from({ length: box.due }, () => JSON.parse(box.nextAck()).id);
  assert.equal(box.take(ADA, 2), false);
  assert.equal(box.due, 0, 'what was not taken is not acknowledged');
  assert.deepEqual([1, 2, 2, 1, 4].map((id) => box.take(ADA, id)), [true, true, false, false, false]);
  assert.deepEqual(acks(), [2]);
  assert.equal(box.take(ADA, 1), false);
  assert.deepEqual(acks(), [2]);
  assert.deepEqual(box.marks(), { [ADA]: 2 });
});

test('marks of those who have left are kept: the last of them, and those who are here before them', () => {
  const box = new Inbox();
  const peers = Array.from({ length: 257 }, (_, n) => `p_${n}`);
  for (const peer of peers) box.take(peer, 1);
  for (const peer of peers) box.left(peer);
  assert.equal(Object.keys(box.marks()).length, 256);
  assert.equal(box.take(peers[256], 1), false, 'it is back and says it again');
  assert.equal(box.take(peers[0], 9, 8), true, 'of this one nothing is known any more');
  box.keep(peers[256]);
  assert.deepEqual(Object.keys(box.marks()).slice(0, 2), [peers[256], peers[0]]);
  for (let n = 0; n < 1500; n++) box.take(`q_${n}`, 1);
  const told = Object.keys(box.marks());
  assert.equal(told.length, 1500);
  assert.ok(!told.includes(peers[1]));
});

test('a bucket stays under the rate', () => {
  const bucket = new Bucket(100, 10);
  let passed = 0;
  for (let now = 0; now < 10_000; now++) {
    if (bucket.wait(now) > 0) continue;
    bucket.take(now);
    passed += 1;
  }
  assert.ok(passed > 890 && passed < 1000, `${passed}`);
});
