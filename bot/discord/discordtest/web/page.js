// Keeps the page as the server has it. Only what differs is changed, so that an
// opened file, a selection, the focus or a half-written form stays, and nothing
// moves away under somebody's mouse.
"use strict";

const $ = (q, from = document) => from.querySelector(q);
const here = new URLSearchParams(location.search);
const state = { as: here.get("as") || "", channel: here.get("channel") || "", thread: here.get("thread") || "" };
const shown = new Map(); // an element's id or name → the HTML that it was made from

async function post(what, body) {
  const res = await fetch("/page/" + what, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ as: state.as, ...body }) });
  const out = await res.json().catch(() => ({ error: "The stand-in does not answer." }));
  return res.ok ? out : { error: out.error || "That did not work." };
}

function toast(text) {
  const t = $("#toast");
  t.textContent = text;
  t.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { t.hidden = true; }, 4000);
}

function made(html) {
  const t = document.createElement("template");
  t.innerHTML = html;
  return t.content.firstElementChild;
}

// known tells elements that stand for different things apart.
const known = (n) => n.nodeName + ["id", "href", "data-as", "data-channel", "data-thread", "data-custom", "data-dismiss"].map((a) => "|" + (n.getAttribute?.(a) ?? "")).join("");

// become has an element look like another one. What is the same in both stays
// where it is, since what is replaced loses its focus, and a click on it.
function become(now, fresh) {
  if (now.isEqualNode(fresh)) return;
  if (known(now) !== known(fresh)) { now.replaceWith(fresh); return; }
  if (now.nodeType !== Node.ELEMENT_NODE) { now.data = fresh.data; return; }
  for (const { name } of [...now.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) now.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  const children = [...fresh.childNodes];
  children.forEach((child, i) => {
    if (now.childNodes[i]) become(now.childNodes[i], child);
    else now.append(child);
  });
  while (now.childNodes.length > children.length) now.lastChild.remove();
}

// put fills an element, and tells whether that changed anything.
function put(el, name, html) {
  if (shown.get(name) === html) return false;
  shown.set(name, html);
  const fresh = el.cloneNode();
  fresh.innerHTML = html;
  become(el, fresh);
  return true;
}

// list fills an element with what has an id each, and tells whether that changed
// anything.
function list(el, name, items) {
  let changed = false;
  const ids = new Set(items.map((i) => i.id));
  for (const old of [...el.children]) if (!ids.has(old.id)) { shown.delete(name + old.id); old.remove(); changed = true; }
  let at = el.firstElementChild;
  for (const item of items) {
    const now = at && at.id === item.id ? at : document.getElementById(item.id);
    const there = now && el.contains(now);
    if (!there || shown.get(name + item.id) !== item.html) {
      changed = true;
      shown.set(name + item.id, item.html);
      const fresh = made(item.html);
      if (!there) { el.insertBefore(fresh, at); continue; }
      fresh.classList.toggle("found", now.classList.contains("found"));
      become(now, fresh);
    }
    if (now !== at) { el.insertBefore(now, at); changed = true; }
    at = now.nextElementSibling;
  }
  return changed;
}

// low tells whether somebody looks at the end of a list.
const low = (el) => el.parentElement.scrollHeight - el.parentElement.scrollTop - el.parentElement.clientHeight < 60;

function clear(el, name) {
  el.replaceChildren();
  for (const key of [...shown.keys()]) if (key.startsWith(name)) shown.delete(key);
}

// While a button of the mouse is down nothing is drawn: whoever clicks means what
// they see. A button that comes up elsewhere is noticed when the mouse is back.
let held = null;
addEventListener("pointerdown", () => {
  if (held) return;
  held = {};
  held.over = new Promise((over) => { held.end = over; });
}, true);
function release() {
  const was = held;
  setTimeout(() => { // The click comes first.
    if (!was || held !== was) return;
    held = null;
    was.end();
  });
}
for (const what of ["pointerup", "pointercancel", "contextmenu"]) addEventListener(what, release, true);
addEventListener("pointermove", (e) => { if (!e.buttons) release(); }, true);
addEventListener("blur", (e) => { if (e.target === window) release(); });

// refresh fetches what there is to see. Asked for while it does, it does so again.
let running = null, again = false;
function refresh() {
  again = true;
  running ??= (async () => {
    while (again) {
      again = false;
      try {
        const asked = new URLSearchParams(state).toString();
        const res = await fetch("/page/view?" + asked);
        const view = res.ok && await res.json();
        while (held) {
          document.body.dataset.held = ""; // What is new waits.
          await held.over;
        }
        delete document.body.dataset.held;
        // Whoever went elsewhere meanwhile is shown that.
        if (view && asked === new URLSearchParams(state).toString()) draw(view);
      } catch { /* The stand-in is gone; the live stream tries again. */ }
    }
    running = null;
  })();
  return running;
}

function draw(v) {
  const main = $("#messages"), side = $("#threadmessages");
  const moved = v.channel !== draw.channel || v.as !== draw.as, turned = moved || v.thread !== draw.thread;
  const end = moved || low(main), sideEnd = turned || low(side);
  if (moved) clear(main, "c:");
  if (turned) clear(side, "t:");
  Object.assign(draw, { channel: v.channel, as: v.as, thread: v.thread });
  Object.assign(state, { as: v.as, channel: v.channel, thread: v.thread });
  history.replaceState(null, "", "?" + new URLSearchParams(Object.entries({ ...Object.fromEntries(here), ...state }).filter(([, x]) => x)));
  put($("#sidebar"), "sidebar", v.sidebar);
  put($("#header"), "header", v.header);
  $("#main textarea").placeholder = v.placeholder;
  $("#thread").hidden = !v.thread;
  put($(".threadhead"), "threadhead", v.threadHeader);
  if ((list(main, "c:", v.messages) || turned) && end) main.parentElement.scrollTop = main.parentElement.scrollHeight;
  if (list(side, "t:", v.threadMessages) && sideEnd) side.parentElement.scrollTop = side.parentElement.scrollHeight;
  const id = v.modal ? v.modal.id : "";
  if (draw.modal !== id) {
    draw.modal = id;
    $("#modal").innerHTML = v.modal ? v.modal.html : "";
    const first = $("#modal input, #modal textarea");
    if (first) first.focus();
  }
}

function go(to) {
  Object.assign(state, to);
  refresh();
}

// Links to messages lead to them here, as nothing of this is at discord.com.
document.addEventListener("click", async (e) => {
  const link = e.target.closest("a[href]");
  const to = link && /^https:\/\/discord\.com\/channels\/(?:\d+|@me)\/(\d+)(?:\/(\d+))?$/.exec(link.href);
  if (!to) return;
  e.preventDefault();
  Object.assign(state, { channel: to[1], thread: "" });
  await refresh();
  const message = to[2] && document.getElementById("m" + to[2]);
  if (!message) return;
  message.scrollIntoView({ block: "center" });
  document.querySelectorAll(".message.found").forEach((m) => m.classList.remove("found"));
  message.classList.add("found");
});

document.addEventListener("click", async (e) => {
  const el = e.target.closest("[data-as],[data-channel],[data-thread],[data-custom],[data-dismiss],[data-close],[data-menu]");
  if (!el || el.tagName === "SELECT") return;
  const d = el.dataset;
  if (d.as) go({ as: d.as });
  else if (d.channel) go({ channel: d.channel, thread: d.thread || "" });
  else if (d.thread !== undefined) go({ thread: d.thread });
  else if (d.dismiss) await post("dismiss", { message: d.dismiss });
  else if (d.close) { await post("close", { interaction: d.close }); refresh(); }
  else if (d.menu) {
    const out = await post("menu", { message: el.closest(".message").dataset.id, command: d.menu });
    if (out.error) toast(out.error);
  } else if (d.custom) {
    el.classList.add("busy");
    const out = await post("click", { message: el.closest(".message").dataset.id, id: d.custom });
    el.classList.remove("busy");
    if (out.error) toast(out.error);
  }
});

document.addEventListener("change", async (e) => {
  if (!e.target.matches("select[data-custom]")) return;
  const out = await post("choose", { message: e.target.closest(".message").dataset.id, id: e.target.dataset.custom, choice: [e.target.value] });
  if (out.error) toast(out.error);
});

document.addEventListener("submit", async (e) => {
  e.preventDefault();
  const form = e.target;
  if (!form.matches(".modal")) return;
  const error = $(".error", form);
  const out = await post("submit", { interaction: form.dataset.interaction, values: Object.fromEntries(new FormData(form)) });
  error.hidden = !out.error;
  error.textContent = out.error || "";
});

document.addEventListener("keydown", (e) => {
  if (e.key === "Escape" && draw.modal) post("close", { interaction: draw.modal }).then(refresh);
});

for (const form of document.querySelectorAll(".composer")) {
  const text = $("textarea", form), offers = $(".offers", form), error = $(".error", form);
  let items = [], on = 0, asked = 0, timer;
  const place = () => (form.dataset.for === "thread" ? state.thread : state.channel);
  const grow = () => { text.style.height = "auto"; text.style.height = text.scrollHeight + "px"; };
  const close = () => { items = []; offers.hidden = true; };

  function show() {
    offers.replaceChildren(...items.map((item, i) => {
      const b = document.createElement("button"), name = document.createElement("b"), hint = document.createElement("small");
      b.type = "button";
      b.className = item.kind + (i === on ? " on" : "");
      name.textContent = item.label;
      hint.textContent = item.hint;
      b.append(name, hint);
      b.addEventListener("mousedown", (e) => { e.preventDefault(); choose(i); });
      return b;
    }));
    offers.hidden = items.length === 0;
    const chosen = offers.children[on];
    if (chosen) chosen.scrollIntoView({ block: "nearest" });
  }

  function choose(i) {
    if (!items[i] || items[i].kind === "error") return;
    text.value = items[i].insert;
    grow();
    offer();
  }

  async function offer() {
    const mine = ++asked;
    if (!text.value.startsWith("/")) { close(); return; }
    const res = await fetch("/page/suggest?" + new URLSearchParams({ as: state.as, channel: place(), text: text.value }));
    const found = res.ok ? await res.json() : [];
    if (mine !== asked) return;
    items = found.filter((f) => f.insert.trimEnd() !== text.value.trimEnd() || f.kind === "error");
    on = 0;
    show();
  }

  async function send() {
    const typed = text.value;
    if (!typed.trim()) return;
    asked++;
    close();
    text.value = "";
    grow();
    const out = await post("type", { channel: place(), text: typed.startsWith("/") ? typed.trimEnd() : typed });
    error.hidden = !out.error;
    error.textContent = out.error || "";
    if (out.error && !text.value) { text.value = typed; grow(); }
  }

  text.addEventListener("input", () => {
    grow();
    error.hidden = true;
    clearTimeout(timer);
    timer = setTimeout(offer, 120);
  });
  // Enter sends; a line break is typed with Shift.
  let shifted = false;
  text.addEventListener("beforeinput", (e) => {
    if ((e.inputType === "insertLineBreak" || e.data === "\n") && !shifted) e.preventDefault();
  });
  text.addEventListener("blur", () => setTimeout(close, 150));
  text.addEventListener("keydown", (e) => {
    if (e.isComposing) return;
    shifted = e.shiftKey;
    const open = !offers.hidden && items.length > 0;
    if (open && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      e.preventDefault();
      on = (on + (e.key === "ArrowDown" ? 1 : items.length - 1)) % items.length;
      show();
    } else if (open && e.key === "Tab") { e.preventDefault(); choose(on); }
    else if (e.key === "Escape") close();
    else if (e.key === "Enter" && !e.shiftKey) {
      e.preventDefault();
      // A command that is not complete yet is completed, as the client does.
      if (open && items[on].kind === "command" && items[on].insert.startsWith(text.value) && text.value.trimEnd() !== items[on].insert.trimEnd()) choose(on);
      else { clearTimeout(timer); send(); }
    }
  });
}

const live = new EventSource("/page/live");
live.onmessage = refresh;
refresh();
