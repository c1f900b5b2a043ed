// What the pages add when scripts run; all of them work without it.
"use strict";
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.valueOf())) time.title = moment.toLocaleString() + " local time";
  }
}
function followLogs(root) {
  for (const log of root.querySelectorAll("pre[data-follow]")) log.scrollTop = log.scrollHeight;
}
function showThisBox(root) {
  for (const graph of root.querySelectorAll("svg.graph")) {
    const box = graph.querySelector(".this rect");
    const frame = graph.closest(".scroll");
    if (box && frame) frame.scrollLeft = Number(box.getAttribute("x")) - frame.clientWidth / 2 + 84;
  }
}
function prepare(root) { localTimes(root); followLogs(root); showThisBox(root); }
document.addEventListener("DOMContentLoaded", () => prepare(document));
document.addEventListener("htmx:afterSettle", (event) => prepare(event.target));
// A log that a reader has scrolled up in stays where it is while the page renews it.
let kept = {};
document.addEventListener("htmx:beforeSwap", (event) => {
  kept = {};
  for (const box of event.target.querySelectorAll("pre[id], .scroll[id]")) {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    kept[box.id] = { atEnd, top: box.scrollTop, left: box.scrollLeft };
  }
});
document.addEventListener("htmx:afterSettle", () => {
  for (const [id, place] of Object.entries(kept)) {
    const box = document.getElementById(id);
    if (!box) continue;
    box.scrollLeft = place.left;
    if (!(place.atEnd && box.hasAttribute("data-follow"))) box.scrollTop = place.top;
  }
});
document.addEventListener("change", (event) => {
  const all = event.target.closest("[data-all]");
  if (!all) return;
  for (const box of document.querySelectorAll(`input[type=checkbox][name="${CSS.escape(all.dataset.all)}"]`)) {
    box.checked = all.checked;
  }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  navigator.clipboard.writeText(button.dataset.copy).then(() => {
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
});
// An upload shows how far it is. A refusal (422) is an answer to be shown, too.
document.addEventListener("htmx:xhr:progress", (event) => {
  const bar = document.getElementById("upload-progress");
  if (!bar || !event.detail.lengthComputable) return;
  bar.classList.remove("hidden");
  bar.value = (100 * event.detail.loaded) / event.detail.total;
});
document.addEventListener("htmx:afterRequest", () => document.getElementById("upload-progress")?.classList.add("hidden"));
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status === 422) { event.detail.shouldSwap = true; event.detail.isError = false; }
});
// Words that a reader has marked are not taken away: the page waits until they are copied.
document.addEventListener("htmx:beforeRequest", (event) => {
  const marked = document.getSelection();
  const holds = marked && !marked.isCollapsed && event.target.contains(marked.anchorNode);
  if (event.target.id === "live" && holds) event.preventDefault();
});
