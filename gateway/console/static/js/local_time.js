// Times of the page in the reader's own zone and language.
const format = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: "medium",
  timeStyle: "short",
});

export function localise(time) {
  time.title = time.dateTime;
  time.textContent = format.format(new Date(time.dateTime));
}

for (const time of document.querySelectorAll("time[datetime]")) localise(time);
