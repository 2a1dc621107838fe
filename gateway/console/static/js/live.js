// What happens to a job, as it happens: new rows above the others, numbers to whoever draws them,
// and the page anew when the job's state is another one.
import { localise } from "./local_time.js";

const section = document.querySelector("[data-live]");
const rows = section.querySelector("tbody");
const source = new EventSource(`${section.dataset.live}/events`);
// The stream begins with the job, also when it is opened again: up to the newest row all is known,
// or older than what the page shows.
let newest = rows.querySelector("[data-id]")?.dataset.id;
let behind = false;

function row(event) {
  const made = document.createElement("tr");
  made.className = `level-${event.level}`;
  const time = document.createElement("time");
  time.dateTime = new Date(event.created_at * 1000).toISOString();
  localise(time);
  const [when, what] = [made.insertCell(), made.insertCell()];
  when.append(time);
  what.textContent = event.message;
  return made;
}

async function look() {
  const answer = await fetch(`${section.dataset.live}/state`);
  if (answer.ok && (await answer.json()).status !== section.dataset.status) location.reload();
}

source.addEventListener("open", () => { behind = newest !== undefined; });

source.addEventListener("message", ({ data }) => {
  if (data === "[DONE]") {
    source.close();
    if (section.dataset.ended === "no") location.reload();
    return;
  }
  const event = JSON.parse(data);
  if (event.type === "metrics") {
    document.dispatchEvent(new CustomEvent("measured", { detail: event.data }));
  }
  if (behind) {
    behind = event.id !== newest;
    return;
  }
  newest = event.id;
  // Of a job that has ended the page shows what it shows; older events are a page of their own.
  if (section.dataset.ended === "yes") return;
  rows.prepend(row(event));
  if (event.type === "message") look();
});
