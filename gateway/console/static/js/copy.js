// A button with `data-copy` puts that text on the clipboard, and says so for two seconds.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break; // only over TLS or on this machine
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}
