// What the pages do with a script. Without one they work, too: they are then as they
// were when they were loaded.
"use strict";

document.documentElement.classList.add("scripted");

// Times as how long ago they are; the time itself is in the title.
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function showTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    if (!element.title) element.title = element.textContent;
    const seconds = Math.round((Date.parse(element.dateTime) - Date.now()) / 1000);
    const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) || ["second", 1];
    const text = relative.format(Math.trunc(seconds / length), unit);
    if (element.textContent !== text) element.textContent = text;
  }
}

// What the server sends when something has changed: the HTML of elements, by id. What
// somebody is using just now is left alone, and taken from what comes next.
const waiting = new Map();

function inUse(element) {
  return element.contains(document.activeElement) && document.activeElement !== document.body && !element.matches("tr");
}

function replace(id, html) {
  const old = document.getElementById(id);
  if (!old) return;
  if (inUse(old)) {
    waiting.set(id, html);
    return;
  }
  waiting.delete(id);
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const open = [...old.querySelectorAll("details")].map((details) => details.open);
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const fresh = holder.content.firstElementChild;
  if (!fresh) return;
  if (old.matches("tr")) fresh.hidden = old.hidden;
  fresh.querySelectorAll("details").forEach((details, i) => { if (open[i]) details.open = true; });
  old.replaceWith(fresh);
  if (focused) fresh.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  showTimes(fresh);
}

function retryWaiting() {
  for (const [id, html] of [...waiting]) replace(id, html);
}

// A row that the page does not have yet means a job that is new: the page is loaded
// again, if nobody is at work on it.
function isNew(id) {
  return id.startsWith("job-") && document.getElementById("jobs") && !document.getElementById(id) && !new URLSearchParams(location.search).get("q");
}

function say(text) {
  const state = document.getElementById("live-state");
  state.hidden = !text;
  if (state.textContent !== text) state.textContent = text;
}

function live(address) {
  const source = new EventSource(address);
  source.addEventListener("patch", (event) => {
    const { elements, last } = JSON.parse(event.data);
    say("");
    for (const [id, html] of Object.entries(elements)) {
      if (isNew(id) && document.activeElement === document.body) {
        source.close();
        location.reload();
        return;
      }
      replace(id, html);
    }
    if (last) source.close();
  });
  source.addEventListener("trouble", (event) => say("Not up to date: " + JSON.parse(event.data)));
  source.addEventListener("open", () => say(""));
  source.addEventListener("error", () => say("Not up to date: no connection to this replica"));
  addEventListener("pagehide", () => source.close());
}

// Finding jobs by name.
function filterRows(input) {
  const text = input.value.trim().toLowerCase();
  for (const row of document.querySelectorAll(`#${input.dataset.filter} tbody tr`)) {
    row.hidden = !row.dataset.name.includes(text);
  }
}

// The next times of a schedule, while it is typed.
function preview(input) {
  const target = document.getElementById(input.getAttribute("aria-describedby"));
  let latest = 0;
  let timer;
  const show = async () => {
    const turn = ++latest;
    const answer = await fetch(input.dataset.next + "?" + new URLSearchParams({ schedule: input.value })).catch(() => null);
    const body = answer && await answer.json().catch(() => null);
    if (turn !== latest) return;
    target.replaceChildren();
    const line = document.createElement("p");
    if (!body || body.error) {
      line.className = "text-bad";
      line.textContent = body ? body.error.message : "The next times cannot be had: no connection to this replica";
      target.append(line);
      return;
    }
    line.textContent = body.words;
    const list = document.createElement("ol");
    for (const tick of body.ticks) {
      const item = document.createElement("li");
      item.textContent = tick;
      list.append(item);
    }
    target.append(line, list);
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 150);
  });
  input.closest("details")?.addEventListener("toggle", show);
}

showTimes(document);
setInterval(() => { showTimes(document); retryWaiting(); }, 1000);
document.addEventListener("focusout", () => setTimeout(retryWaiting));
for (const input of document.querySelectorAll("input[data-filter]")) {
  input.addEventListener("input", () => filterRows(input));
  input.form.addEventListener("submit", (event) => event.preventDefault());
}
for (const input of document.querySelectorAll("input[data-next]")) preview(input);
if (document.body.dataset.live) live(document.body.dataset.live);
