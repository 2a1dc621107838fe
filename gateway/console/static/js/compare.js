// One question to each model that is named, the answers streamed side by side with their receipts.
const form = document.querySelector("#ask");
const answers = document.querySelector("#answers");
const template = document.querySelector("#column");
const token = form.elements.form.value;

function column(model) {
  const made = template.content.cloneNode(true).firstElementChild;
  const slot = (name) => made.querySelector(`[data-slot="${name}"]`);
  slot("model").textContent = model;
  answers.append(made);
  return slot;
}

function receipt(slot, headers) {
  for (const [name, header] of [["release", "x-adapter-digest"], ["base", "x-base-digest"]]) {
    const digest = headers.get(header) ?? "";
    slot(name).title = digest;
    slot(name).textContent = digest.replace("sha256:", "").slice(0, 12) || "—";
  }
  slot("request").textContent = headers.get("x-request-id") ?? "—";
}

function fail(slot, message) {
  slot("error").hidden = false;
  slot("error").textContent = message;
}

async function* lines(body) {
  let rest = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}

async function ask(model, question) {
  const slot = column(model);
  const answer = await fetch("/console/playground/answer", {
    method: "POST",
    headers: { "content-type": "application/json", "x-form-token": token },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: question }],
      max_tokens: Number(form.dataset.most),
      temperature: 0,
      stream: true,
    }),
  });
  receipt(slot, answer.headers);
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    fail(slot, said.error?.message ?? `HTTP ${answer.status}`);
    return;
  }
  let ended = false;
  for await (const line of lines(answer.body)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") { ended = true; break; }
    const piece = JSON.parse(data);
    if (piece.error) { fail(slot, piece.error.message); return; }
    slot("text").append(piece.choices?.[0]?.delta?.content ?? "");
  }
  if (!ended) fail(slot, form.dataset.cut);
}

async function proofs() {
  const answer = await fetch("/console/playground/engines");
  if (!answer.ok) return;
  const held = (await answer.json()).data.flatMap((engine) => engine.adapters);
  for (const made of answers.children) {
    const digest = made.querySelector('[data-slot="release"]').title;
    const proof = held.find((entry) => digest && entry.digest === digest)?.proof;
    if (proof) made.querySelector('[data-slot="proof"]').textContent = form.dataset[proof.state];
  }
}

// As a shell takes it: the command line below says what is asked now.
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`);

function say(models, question) {
  const line = ["adapters", "chat", ...models, question].map(quoted).join(" ");
  document.querySelector(".command code").textContent = line;
  document.querySelector(".command [data-copy]").dataset.copy = line;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button.main");
  const names = ["model1", "model2", "model3"].map((name) => form.elements[name].value.trim());
  const [models, question] = [names.filter(Boolean), form.elements.question.value];
  say(models, question);
  answers.replaceChildren();
  button.disabled = true;
  try {
    await Promise.allSettled(models.map((model) => ask(model, question)));
    await proofs();
  } finally {
    button.disabled = false;
  }
});
