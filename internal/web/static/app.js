// What the pages do with a script. Without one they work, too: they are then as they
// were when they were loaded.
"use strict";

document.documentElement.classList.add("scripted");

// Times as how long ago they are; the time itself is in the title, or stays before it.
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function showTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    if (!element.title) element.title = element.textContent;
    const seconds = Math.round((Date.parse(element.dateTime) - Date.now()) / 1000);
    const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) || ["second", 1];
    let text = relative.format(Math.trunc(seconds / length), unit);
    if (element.classList.contains("full")) text = `${element.title} (${text})`;
    if (element.textContent !== text) element.textContent = text;
  }
}

// What the server sends when something has changed: the HTML of elements, by id. What
// somebody fills in, has unfolded or has selected for copying is left alone, and taken
// from what comes next.
const waiting = new Map();

function inUse(element) {
  if (element.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, button")) return true;
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(element, true);
}

const focusable = "a[href], summary, [tabindex='0']";

// What is the user's, and not the server's, goes over to the new element.
function carryOver(old, fresh) {
  if (old.matches("tr")) fresh.hidden = old.hidden;
  const opened = [...old.querySelectorAll("details")];
  fresh.querySelectorAll("details").forEach((details, i) => { details.open = opened[i]?.open ?? details.open; });
  const place = [...old.querySelectorAll(focusable)].indexOf(document.activeElement);
  const scrolled = [...old.querySelectorAll(".scroll, pre")].map((e) => [e.scrollLeft, e.scrollTop]);
  const address = place < 0 ? null : document.activeElement.getAttribute("href");
  return () => {
    fresh.querySelectorAll(".scroll, pre").forEach((e, i) => { if (scrolled[i]) [e.scrollLeft, e.scrollTop] = scrolled[i]; });
    if (place < 0) return;
    const again = address && fresh.querySelector(`a[href="${CSS.escape(address)}"]`);
    (again || fresh.querySelectorAll(focusable)[place])?.focus({ preventScroll: true });
  };
}

function parse(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content.firstElementChild;
}

function replace(id, html) {
  const old = document.getElementById(id);
  if (!old) return add(id, html);
  if (inUse(old)) {
    waiting.set(id, html);
    return;
  }
  waiting.delete(id);
  const fresh = parse(html);
  if (!fresh) return;
  const finish = carryOver(old, fresh);
  old.replaceWith(fresh);
  finish();
  showTimes(fresh);
  filterAll();
}

// A row that the page does not have means a job that is new. A page that shows what the
// server has found stays with that.
function add(id, html) {
  if (!id.startsWith("job-") || new URLSearchParams(location.search).get("q")) return;
  const body = document.querySelector("#jobs tbody");
  if (!body) {
    location.reload();
    return;
  }
  const fresh = parse(html);
  const next = [...body.rows].find((row) => row.dataset.name > fresh.dataset.name);
  body.insertBefore(fresh, next || null);
  showTimes(fresh);
  filterAll();
}

function retryWaiting() {
  for (const [id, html] of [...waiting]) replace(id, html);
}

function say(text) {
  const state = document.getElementById("live-state");
  if (state.textContent !== text) state.textContent = text;
}

function live(address) {
  const source = new EventSource(address);
  source.addEventListener("patch", (event) => {
    const { elements, last } = JSON.parse(event.data);
    say("");
    for (const [id, html] of Object.entries(elements)) replace(id, html);
    if (last) source.close();
  });
  source.addEventListener("alive", () => say(""));
  source.addEventListener("trouble", (event) => say("Not up to date: " + JSON.parse(event.data)));
  source.addEventListener("error", () => {
    say("Not up to date: no connection to this replica");
    // A browser gives up after an answer that is none.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => live(address), 5000);
  });
  // A browser has six connections for a host: pages that nobody sees give theirs back.
  const leave = () => {
    if (!document.hidden) return;
    source.close();
    document.removeEventListener("visibilitychange", leave);
    document.addEventListener("visibilitychange", () => live(address), { once: true });
  };
  document.addEventListener("visibilitychange", leave);
  addEventListener("pagehide", () => source.close());
}

// Finding jobs by name or state.
function filterRows(input) {
  const words = input.value.trim().toLowerCase().split(/\s+/);
  const rows = [...document.querySelectorAll(`#${input.dataset.filter} tbody tr`)];
  let found = 0;
  for (const row of rows) {
    const hit = words.every((word) => row.dataset.find.includes(word));
    if (row.hidden === hit) row.hidden = !hit;
    if (hit) found++;
  }
  const line = document.getElementById("found");
  const text = `${found} of ${rows.length} jobs found.`;
  if (!line || new URLSearchParams(location.search).get("q")) return;
  line.hidden = !words[0];
  if (line.textContent !== text) line.textContent = text;
}

function filterAll() {
  for (const input of document.querySelectorAll("input[data-filter]")) if (input.value) filterRows(input);
}

// A time as its schedule means it.
const weekday = new Intl.DateTimeFormat("en", { weekday: "short", timeZone: "UTC" });

function tickText(tick) {
  const [, day, time, zone] = tick.match(/^(\S+)T([\d:]+)\S*?(Z|[+-][\d:]+)$/);
  return `${weekday.format(Date.parse(day + "T00:00:00Z"))} ${day} ${time} UTC${zone === "Z" ? "" : zone}`;
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
      item.textContent = tickText(tick);
      list.append(item);
    }
    target.append(line, list);
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 150);
  });
}

showTimes(document);
filterAll();
setInterval(() => { showTimes(document); retryWaiting(); }, 1000);
document.addEventListener("focusout", () => setTimeout(retryWaiting));
for (const input of document.querySelectorAll("input[data-filter]")) {
  input.addEventListener("input", () => filterRows(input));
  input.form.addEventListener("submit", (event) => event.preventDefault());
}
for (const input of document.querySelectorAll("input[data-next]")) preview(input);
if (document.body.dataset.live) live(document.body.dataset.live);
