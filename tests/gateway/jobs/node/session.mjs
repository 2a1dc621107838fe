// A scripted session of OpenAI's own Node package over every method of what a gateway with [jobs]
// answers. Ends with 0 and one line of JSON, or with the first assertion that failed.
//
//   BASE_URL KEY MODEL HOME WEBHOOK_PORT WEBHOOK_SECRET   by the environment

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI, { toFile } from 'openai';

const { BASE_URL, KEY, MODEL, HOME, WEBHOOK_PORT, WEBHOOK_SECRET } = process.env;
const STANDSTILL_MS = 300_000;
const options = { baseURL: BASE_URL, maxRetries: 0, webhookSecret: WEBHOOK_SECRET };
const real = new OpenAI({ apiKey: KEY, adminAPIKey: KEY, ...options });

// Which methods there are, and which were called: a method that is new is a method that is missing.
const RESOURCES = {
  files: real.files,
  uploads: real.uploads,
  'uploads.parts': real.uploads.parts,
  'fineTuning.jobs': real.fineTuning.jobs,
  'fineTuning.jobs.checkpoints': real.fineTuning.jobs.checkpoints,
  'fineTuning.checkpoints.permissions': real.fineTuning.checkpoints.permissions,
  'fineTuning.alpha.graders': real.fineTuning.alpha.graders,
  batches: real.batches,
  models: real.models,
};
const called = new Set();
const recorded = Object.fromEntries(
  Object.entries(RESOURCES).map(([name, resource]) => [
    name,
    new Proxy(resource, {
      get(target, property) {
        const value = target[property];
        if (typeof value !== 'function') return value;
        called.add(`${name}.${String(property)}`);
        return value.bind(target);
      },
    }),
  ]),
);
const { files, uploads, batches, models } = recorded;
const parts = recorded['uploads.parts'];
const jobs = recorded['fineTuning.jobs'];
const checkpoints = recorded['fineTuning.jobs.checkpoints'];
const permissions = recorded['fineTuning.checkpoints.permissions'];
const graders = recorded['fineTuning.alpha.graders'];

const lines = (rows) => Buffer.from(rows.map((row) => JSON.stringify(row) + '\n').join(''));
const ROWS = lines(
  Array.from({ length: 12 }, (_, n) => ({
    messages: [
      { role: 'user', content: `question ${n}` },
      { role: 'assistant', content: `answer ${n}` },
    ],
  })),
);
const all = async (pages) => {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
};
const until = async (ask, ...statuses) => {
  const end = Date.now() + STANDSTILL_MS;
  for (;;) {
    const found = await ask();
    if (statuses.includes(found.status)) return found;
    assert(Date.now() < end, JSON.stringify(found));
    await sleep(50);
  }
};

// Who is told what happened.
const told = [];
const receiver = createServer(async (request, response) => {
  const body = (await request.setEncoding('utf8').toArray()).join('');
  told.push({ body, headers: request.headers });
  response.writeHead(204).end();
}).listen(Number(WEBHOOK_PORT), '127.0.0.1');
await once(receiver, 'listening');

// Files.
const rows = await files.create({ file: await toFile(ROWS, 'rows.jsonl'), purpose: 'fine-tune' });
assert.equal(rows.bytes, ROWS.length);
assert.equal((await files.waitForProcessing(rows.id, { pollInterval: 50 })).status, 'processed');
assert.deepEqual(await files.retrieve(rows.id), rows);
assert.equal(await (await files.content(rows.id)).text(), ROWS.toString());
const more = [];
for (let n = 0; n < 3; n += 1) {
  const file = await toFile(Buffer.from(`${n}`), `${n}.txt`);
  more.push((await files.create({ file, purpose: 'user_data' })).id);
}
const listed = await all(files.list({ limit: 2, order: 'asc' }));
assert.deepEqual(listed.map((file) => file.id), [rows.id, ...more]);
assert.equal((await files.delete(more[0])).deleted, true);
await assert.rejects(files.retrieve(more[0]), OpenAI.NotFoundError);
const broken = toFile(Buffer.from('{"messages": [}\n'), 'broken.jsonl');
await assert.rejects(
  files.create({ file: await broken, purpose: 'fine-tune' }),
  (error) => error instanceof OpenAI.BadRequestError && /line 1/i.test(error.message),
);

// A file in parts, which arrive in another order.
const purpose = 'fine-tune';
const mime = { mime_type: 'application/jsonl' };
const upload = await uploads.create({ bytes: ROWS.length, filename: 'parts.jsonl', purpose, ...mime });
const cut = Math.floor(ROWS.length / 2);
const second = await parts.create(upload.id, { data: await toFile(ROWS.subarray(cut), 'b') });
const first = await parts.create(upload.id, { data: await toFile(ROWS.subarray(0, cut), 'a') });
const whole = await uploads.complete(upload.id, { part_ids: [first.id, second.id] });
assert.equal(whole.status, 'completed');
assert.equal(await (await files.content(whole.file.id)).text(), ROWS.toString());
const dropped = await uploads.create({ bytes: 3, filename: 'x', purpose: 'user_data', mime_type: 'text/plain' });
assert.equal((await uploads.cancel(dropped.id)).status, 'cancelled');

// Graders.
const grader = {
  type: 'string_check',
  name: 'same',
  operation: 'eq',
  input: '{{sample.output_text}}',
  reference: '{{item.label}}',
};
assert.equal((await graders.validate({ grader })).grader.name, 'same');
assert.equal((await graders.run({ grader, model_sample: 'A', item: { label: 'A' } })).reward, 1);

// Jobs.
const job = await jobs.create({
  model: MODEL,
  training_file: rows.id,
  validation_file: whole.file.id,
  suffix: 'Node',
  seed: 7,
  metadata: { team: 'red' },
  method: { type: 'supervised', supervised: { hyperparameters: { n_epochs: 2 } } },
});
assert.equal(job.object, 'fine_tuning.job');
const done = await until(() => jobs.retrieve(job.id), 'succeeded', 'failed');
assert.equal(done.status, 'succeeded', JSON.stringify(done.error));
assert.match(done.fine_tuned_model, /\.node@1$/);
const slow = await jobs.create({ model: MODEL, training_file: rows.id, suffix: 'slow' });
await until(() => jobs.retrieve(slow.id), 'running');
const waiting = await jobs.create({ model: MODEL, training_file: rows.id, suffix: 'waits' });
assert.deepEqual(
  (await all(jobs.list({ limit: 1 }))).map((one) => one.id),
  [waiting.id, slow.id, job.id],
);
assert.deepEqual((await all(jobs.list({ metadata: { team: 'red' } }))).map((one) => one.id), [job.id]);
await jobs.cancel(waiting.id);
await until(() => jobs.retrieve(waiting.id), 'cancelled');
await assert.rejects(jobs.cancel(waiting.id), OpenAI.ConflictError);
await jobs.pause(slow.id);
await until(() => jobs.retrieve(slow.id), 'queued');
await jobs.resume(slow.id);
const streamed = [];
const events = await real.get(`/fine_tuning/jobs/${slow.id}/events`, {
  query: { stream: true },
  stream: true,
});
for await (const event of events) {
  assert.equal(event.object, 'fine_tuning.job.event');
  streamed.push(event.id);
  writeFileSync(join(HOME, `go-${slow.id}`), ''); // what is streamed comes while the job runs
}
assert.equal((await until(() => jobs.retrieve(slow.id), 'succeeded', 'failed')).status, 'succeeded');
const kept = (await all(jobs.listEvents(slow.id, { limit: 2 }))).map((event) => event.id);
assert.deepEqual(kept, streamed.reverse());
const points = await all(checkpoints.list(slow.id, { limit: 1 }));
assert.deepEqual(points.map((point) => point.step_number), [10, 5]);
for (const ask of [
  () => permissions.create('ckpt', { project_ids: ['p'] }),
  () => permissions.retrieve('ckpt'),
  () => permissions.list('ckpt'),
  () => permissions.delete('p', { fine_tuned_model_checkpoint: 'ckpt' }),
])
  await assert.rejects(async () => await ask(), OpenAI.NotFoundError);

// Models: what was made is used, and deleted.
const model = done.fine_tuned_model;
const messages = [{ role: 'user', content: 'hello' }];
const answer = await real.chat.completions.create({ model, messages, max_tokens: 2 });
assert.equal(answer.model, model);
let text = '';
const chunks = await real.chat.completions.create({ model, messages, max_tokens: 2, stream: true });
for await (const chunk of chunks) text += chunk.choices[0]?.delta?.content ?? '';
assert.equal(text, answer.choices[0].message.content);
assert((await all(models.list())).some((one) => one.id === model));
assert.equal((await models.retrieve(model)).id, model);
assert.equal((await models.delete(model)).deleted, true);
await assert.rejects(models.retrieve(model), OpenAI.NotFoundError);

// Batches.
const other = (await jobs.retrieve(slow.id)).fine_tuned_model;
const body = { model: other, messages, max_tokens: 3 };
const asked = lines(
  [0, 1, 2].map((n) => ({ custom_id: `q${n}`, method: 'POST', url: '/v1/chat/completions', body })),
);
const input = await files.create({ file: await toFile(asked, 'asked.jsonl'), purpose: 'batch' });
const window = { endpoint: '/v1/chat/completions', completion_window: '24h' };
const batch = await batches.create({ input_file_id: input.id, ...window });
const answered = await until(() => batches.retrieve(batch.id), 'completed', 'failed');
assert.deepEqual(answered.request_counts, { total: 3, completed: 3, failed: 0 });
const results = await (await files.content(answered.output_file_id)).text();
assert.deepEqual(
  results.trim().split('\n').map((line) => JSON.parse(line).custom_id),
  ['q0', 'q1', 'q2'],
);
assert.deepEqual((await all(batches.list({ limit: 1 }))).map((one) => one.id), [batch.id]);
await assert.rejects(batches.cancel(batch.id), OpenAI.ConflictError);

// Errors are the package's own classes.
const stranger = new OpenAI({ apiKey: 'aw-nobody', ...options });
await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
await assert.rejects(
  jobs.create({ model: MODEL, training_file: 'file-none' }),
  (error) => error instanceof OpenAI.BadRequestError && error.param === 'training_file',
);

// What was told, by the package's own reading of it.
const end = Date.now() + STANDSTILL_MS;
const heard = async () => {
  const found = [];
  for (const { body, headers } of told) found.push(await real.webhooks.unwrap(body, headers));
  return found;
};
const wanted = [job.id, slow.id, waiting.id, batch.id];
while (!wanted.every((id) => told.some(({ body }) => body.includes(id)))) {
  assert(Date.now() < end, told.map(({ body }) => body).join('\n'));
  await sleep(50);
}
const kinds = Object.fromEntries((await heard()).map((event) => [event.data.id, event.type]));
assert.deepEqual(kinds, {
  [job.id]: 'fine_tuning.job.succeeded',
  [slow.id]: 'fine_tuning.job.succeeded',
  [waiting.id]: 'fine_tuning.job.cancelled',
  [batch.id]: 'batch.completed',
});
const forged = { ...told[0], body: told[0].body.replace('succeeded', 'failed') };
await assert.rejects(
  real.webhooks.unwrap(forged.body, forged.headers),
  OpenAI.InvalidWebhookSignatureError,
);
receiver.close();
receiver.closeAllConnections();

const there = Object.entries(RESOURCES).flatMap(([name, resource]) =>
  Object.getOwnPropertyNames(Object.getPrototypeOf(resource))
    .filter((method) => method !== 'constructor' && !method.startsWith('_'))
    .map((method) => `${name}.${method}`),
);
assert.deepEqual(there.filter((method) => !called.has(method)), []);
console.log(JSON.stringify({ node: process.version, methods: there.length, events: streamed.length }));
