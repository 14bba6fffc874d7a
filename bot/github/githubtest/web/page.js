// Keeps the page as the server has it. Only what differs is replaced, so that
// an opened fold, a selection or a half-written comment stays.
"use strict";

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function tellTimes() {
  for (const t of document.querySelectorAll("time")) {
    const s = (new Date(t.dateTime) - Date.now()) / 1000;
    const [n, unit] = s > -60 ? [0, "second"] : s > -3600 ? [s / 60, "minute"] : s > -86400 ? [s / 3600, "hour"] : [s / 86400, "day"];
    t.textContent = relative.format(Math.round(n), unit);
  }
}

// seen is each part's source as it came, since the live one changes: times are
// told anew and folds are opened.
const seen = new Map();

function remember(doc) {
  for (const el of doc.querySelectorAll("[data-live], [data-live-list] > *")) seen.set(el.id, el.outerHTML);
}

function replace(old, fresh) {
  const open = [...old.querySelectorAll("details")].map((d) => d.open);
  fresh.querySelectorAll("details").forEach((d, i) => { if (i < open.length) d.open = open[i]; });
  old.replaceWith(fresh);
}

function update(doc) {
  for (const next of doc.querySelectorAll("[data-live]")) {
    const now = document.getElementById(next.id);
    if (now && seen.get(next.id) !== next.outerHTML) { seen.set(next.id, next.outerHTML); replace(now, next); }
  }
  const list = document.querySelector("[data-live-list]");
  const items = [...doc.querySelector("[data-live-list]").children];
  const ids = new Set(items.map((el) => el.id));
  for (const el of [...list.children]) if (!ids.has(el.id)) el.remove();
  for (const next of items) {
    const now = document.getElementById(next.id), source = next.outerHTML;
    if (!now) { next.classList.add("fresh"); list.append(next); }
    else if (seen.get(next.id) !== source) replace(now, next);
    seen.set(next.id, source);
  }
  tellTimes();
}

let busy = false, again = false;
async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const res = await fetch(location.pathname);
    if (res.ok) update(new DOMParser().parseFromString(await res.text(), "text/html"));
  } finally {
    busy = false;
    if (again) { again = false; refresh(); }
  }
}

remember(document);
tellTimes();
setInterval(tellTimes, 10000);
new EventSource(location.pathname + "/live").onmessage = refresh;

const form = document.getElementById("write"), text = form.elements.body;
form.elements.as.addEventListener("change", (e) => { document.getElementById("writer").src = "/avatars/" + e.target.value; });
text.addEventListener("keydown", (e) => {
  if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) form.requestSubmit(form.querySelector("button.primary"));
});
form.addEventListener("submit", async (e) => {
  e.preventDefault();
  const data = new URLSearchParams(new FormData(form));
  data.set("do", e.submitter ? e.submitter.value : "comment");
  const res = await fetch(form.action, { method: "POST", body: data, redirect: "manual" });
  const said = document.getElementById("said");
  if (res.type === "opaqueredirect" || res.ok) { text.value = ""; said.className = "quiet"; said.textContent = ""; refresh(); }
  else { said.className = "quiet bad"; said.textContent = await res.text(); }
});
