// Fetches the page again every few seconds and puts its content in place of the old. Without it the page is whole, but stands
// still.
"use strict";
(() => {
  const PERIOD = 5000;
  const live = document.getElementById("live");
  const status = document.getElementById("status");
  const filter = document.getElementById("filter");
  const keep = (key, value) => { try { sessionStorage.setItem(key, value); } catch { /* not allowed, not needed */ } };
  const kept = (key) => { try { return sessionStorage.getItem(key); } catch { return null; } };

  const apply = () => {
    const words = filter ? filter.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    const rows = live.querySelectorAll("[data-row]");
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) shown += 1;
    }
    const note = document.getElementById("shown");
    if (note) note.textContent = words.length ? ` · ${shown} of ${rows.length} match` : "";
  };

  // A selector of an element that the new content has again.
  const place = (element) => {
    if (!element || !live.contains(element)) return null;
    if (element.id) return `#${CSS.escape(element.id)}`;
    const href = element.getAttribute("href");
    if (href) return `a[href="${CSS.escape(href)}"]`;
    if (element.tagName === "SUMMARY" && element.parentElement.id) return `#${CSS.escape(element.parentElement.id)} > summary`;
    return element.classList.contains("scroll") ? ".scroll" : null;
  };

  const replace = (next) => {
    const focused = place(document.activeElement);
    const open = [...live.querySelectorAll("details[open]")].map((details) => details.id);
    const scroll = live.querySelector(".scroll")?.scrollLeft ?? 0;
    live.replaceChildren(...next.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    const box = live.querySelector(".scroll");
    if (box) box.scrollLeft = scroll;
    apply();
    if (focused) live.querySelector(focused)?.focus({ preventScroll: true });
    live.dataset.updates = String(Number(live.dataset.updates ?? 0) + 1);
  };

  const selecting = () => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  };

  const update = async () => {
    if (document.hidden || selecting()) return;
    try {
      const response = await fetch(location.href, { cache: "no-store" });
      if (!response.ok && response.status !== 404) throw new Error(`the exporter answers with status ${response.status}`);
      if (response.status === 404) throw new Error("this JVM is not known");
      const next = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
      if (next) replace(next);
      status.textContent = "";
    } catch (error) {
      status.textContent = error instanceof TypeError ? "The exporter does not answer" : `Not updated: ${error.message}`;
    }
  };

  if (filter) {
    filter.disabled = false;
    filter.value = kept("filter") ?? "";
    filter.addEventListener("input", () => { keep("filter", filter.value); apply(); });
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
        event.preventDefault();
        filter.focus();
      } else if (event.key === "Escape" && document.activeElement === filter && filter.value) {
        filter.value = "";
        filter.dispatchEvent(new Event("input"));
      }
    });
    apply();
  }
  for (const view of document.querySelectorAll("input[name=view]")) {
    if (view.value === (kept("view") ?? (innerWidth < 700 ? "cards" : "table"))) view.checked = true;
    view.addEventListener("change", () => keep("view", view.value));
  }
  const loop = async () => { await update(); setTimeout(loop, PERIOD); };
  setTimeout(loop, PERIOD);
  document.addEventListener("visibilitychange", update);
})();
