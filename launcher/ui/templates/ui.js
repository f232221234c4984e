// Puts the parts that the server has drawn anew in their places while somebody looks. Nothing else needs a script:
// links, forms and filters are plain HTML.
"use strict";
(() => {
  const MOST_LINES = 5000;
  const url = document.body.dataset.stream;
  const live = document.getElementById("live");
  const log = document.getElementById("log");
  let source = null;
  let next = 0;

  const place = (key, html) => {
    const element = document.querySelector(`[data-part="${CSS.escape(key)}"]`);
    if (!element) return;
    // what is being typed, chosen or pointed at stays so
    const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
    const checked = [...element.querySelectorAll("input:checked")].map((input) => input.id);
    element.innerHTML = html;
    for (const id of checked) {
      const input = document.getElementById(id);
      if (input) input.checked = true;
    }
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  };

  const append = ({ first, lines }) => {
    const known = first < next ? next - first : 0; // sent again after a reconnection
    if (!log || known >= lines.length) return;
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const added = document.createDocumentFragment();
    for (const line of lines.slice(known)) {
      const row = document.createElement("div");
      row.textContent = line;
      added.append(row);
    }
    next = first + lines.length;
    log.append(added);
    while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  };

  const listen = () => {
    if (source || !url || document.hidden) return;
    source = new EventSource(url);
    source.addEventListener("open", () => { live.textContent = "live"; });
    source.addEventListener("error", () => { live.textContent = "not connected; is ftlaunch ui still running?"; });
    source.addEventListener("parts", (event) => {
      for (const [key, html] of Object.entries(JSON.parse(event.data))) place(key, html);
    });
    source.addEventListener("lines", (event) => append(JSON.parse(event.data)));
  };

  const leave = () => {
    source?.close();
    source = null;
  };

  // a tab that nobody sees asks for nothing
  document.addEventListener("visibilitychange", () => { document.hidden ? (leave(), (live.textContent = "paused")) : listen(); });
  addEventListener("pagehide", leave);
  addEventListener("pageshow", listen);
  listen();
})();
