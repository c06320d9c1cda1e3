// Keeps the pages up to date, and makes them quicker to use. Without it they work all the same.

const body = document.body;
const words = JSON.parse(body.dataset.words);
const { mailbox, path, api } = body.dataset;
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
document.documentElement.classList.add("script");

// What the browser keeps. It may refuse to keep anything.
const kept = {
  get(key) { try { return JSON.parse(localStorage.getItem("sluice." + key)) ?? []; } catch { return []; } },
  set(key, value) { try { localStorage.setItem("sluice." + key, JSON.stringify(value)); } catch { /* then not */ } },
};

// ---- words and times

let toastEnds;
function toast(text) {
  const box = $("#toast");
  clearTimeout(toastEnds);
  if (text) box.textContent = text;
  box.hidden = false;
  toastEnds = setTimeout(() => { box.hidden = true; }, 4000);
}

function localise(within) {
  const today = new Date().toDateString();
  for (const t of $$("time[datetime]", within)) {
    const at = new Date(t.dateTime);
    if ("full" in t.dataset) t.textContent = at.toLocaleString([], { dateStyle: "full", timeStyle: "short" });
    else if (at.toDateString() === today) t.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    else t.textContent = at.toLocaleDateString([], { day: "numeric", month: "short" });
    if ("short" in t.dataset) t.title = at.toLocaleString();
  }
}

async function copy(text) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {
      const area = document.createElement("textarea");
      area.value = text;
      body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      if (!copied) throw new Error("refused");
    }
    toast(words.copied);
  } catch { toast(words.notcopied); }
}

// ---- the list

const list = $("#rows");
const inbox = $("#inbox");
const rows = () => $$(".row", list);
const readKey = "read:" + mailbox;
let read = new Set(kept.get(readKey));

function markRead(id) {
  if (!read.has(id)) {
    read = new Set([...kept.get(readKey), id].slice(-500));
    kept.set(readKey, [...read]);
  }
  rowOf(id)?.classList.remove("unread");
}

const rowOf = (id) => rows().find((row) => row.dataset.id === id);

function nameOf(mail) {
  const at = mail.from.lastIndexOf("<");
  const name = at > 0 ? mail.from.slice(0, at).trim().replace(/^"|"$/g, "") : mail.from.replace(/^<|>$/g, "");
  return name || mail.sender || words.nosender;
}

function makeRow(mail) {
  const row = $("#row-template").content.firstElementChild.cloneNode(true);
  const name = nameOf(mail);
  row.dataset.id = mail.id;
  row.classList.toggle("unread", !mail.seen && !read.has(mail.id));
  $("a", row).href = `${path}/${mail.id}`;
  $(".avatar", row).textContent = (name.match(/[^\s"'<(]/u) ?? ["?"])[0].toUpperCase();
  $(".who bdi", row).textContent = name;
  $(".what bdi", row).textContent = mail.subject || words.nosubject;
  $("time", row).dateTime = mail.received;
  if (!mail.attachment) $$(".marks > .icon, .has-file", row).forEach((e) => e.remove());
  localise(row);
  return row;
}

// insert puts a mail where it belongs; ids sort by time of arrival. It returns whether the mail is new here.
function insert(mail, fresh) {
  if (!("newest" in list.dataset) || rowOf(mail.id) || gone.has(mail.id)) return false;
  const row = makeRow(mail);
  const before = rows().find((other) => other.dataset.id < mail.id);
  if (fresh) row.classList.add("arrived");
  const scrolled = list.parentElement.scrollTop;
  list.insertBefore(row, before ?? null);
  if (scrolled > 60) list.parentElement.scrollTop = scrolled + row.offsetHeight; // what is being read stays where it is
  inbox.classList.remove("nothing");
  $("#no-match").hidden = true;
  return true;
}

// sync makes the list what the server says.
const gone = new Set();
let tag = "";
async function sync(announcing) {
  if (!("newest" in list.dataset)) return;
  const query = list.dataset.query ? "&q=" + encodeURIComponent(list.dataset.query) : "";
  const answer = await fetch(`${api}/messages?limit=50${query}`, { headers: { Accept: "application/json" }, cache: "no-cache" });
  if (answer.status === 401) { location.reload(); return; }
  if (!answer.ok) throw new Error(answer.status);
  if (answer.headers.get("ETag") === tag) return;
  const { messages } = await answer.json();
  tag = answer.headers.get("ETag") ?? "";
  for (const mail of messages.toReversed()) if (insert(mail, announcing) && announcing) announce(mail);
  const there = new Set(messages.map((mail) => mail.id));
  const oldest = messages.length < 50 ? "" : messages.at(-1).id;
  for (const row of rows()) if (row.dataset.id >= oldest && !there.has(row.dataset.id)) row.remove();
  if (!rows().length && !list.dataset.query && !inbox.classList.contains("reading")) inbox.classList.add("nothing");
}

// ---- telling

let unnoticed = 0;
let title = document.title;
function showTitle() {
  document.title = unnoticed ? `(${unnoticed}) ${title}` : title;
  const icon = $("#favicon");
  icon.href = unnoticed ? icon.dataset.new : icon.dataset.plain;
}

function announce(mail) {
  if (document.hidden) unnoticed++;
  showTitle();
  if (document.hidden && kept.get("notify") === true && window.Notification?.permission === "granted") {
    const note = new Notification(words.newmail.replace("%s", nameOf(mail)), { body: mail.subject || words.nosubject, tag: mail.id });
    note.onclick = () => { window.focus(); swap(`${path}/${mail.id}`); note.close(); };
  }
}

async function toggleNotify() {
  const button = $("#notify");
  if (button.getAttribute("aria-pressed") === "true") {
    kept.set("notify", false);
    button.setAttribute("aria-pressed", "false");
    return;
  }
  const allowed = window.Notification && await Notification.requestPermission() === "granted";
  kept.set("notify", Boolean(allowed));
  button.setAttribute("aria-pressed", String(Boolean(allowed)));
  toast(allowed ? words.notifying : words.notnotifying);
}

// ---- hearing of new mail: by a stream of events, or by asking every few seconds

function state(word, off) {
  const live = $("#live");
  live.hidden = false;
  live.classList.toggle("off", Boolean(off));
  $(".how", live).textContent = words[word];
}

// A browser opens six connections to one host, all tabs together: at most three tabs have a stream, the others ask. Where
// there are no locks, only tabs that one sees have one.
function mayStream() {
  if (!navigator.locks) return Promise.resolve(!document.hidden);
  const slot = (n) => new Promise((resolve) => {
    navigator.locks.request("sluice-stream-" + n, { ifAvailable: true }, (lock) => {
      resolve(Boolean(lock));
      return lock ? new Promise(() => {}) : undefined; // held as long as the page is there
    }).catch(() => resolve(false));
  });
  return slot(0).then((got) => got || slot(1)).then((got) => got || slot(2));
}

let source, waiting = 0, polling, checking;
function stop() {
  source?.close();
  source = undefined;
  clearTimeout(polling);
  clearInterval(checking);
}

function poll(word = "polling") {
  clearTimeout(polling);
  polling = setTimeout(async () => {
    try {
      await sync(true);
      state(word);
    } catch { state("offline", true); }
    poll(word);
  }, document.hidden ? 10000 : 4000);
}

function stream() {
  stop();
  source = new EventSource(api + "/events");
  source.onopen = () => {
    waiting = 0;
    clearTimeout(polling);
    state("live");
    sync(true).catch(() => {}); // what has come between the page and the stream
  };
  checking = setInterval(() => { if (!document.hidden) sync(true).catch(() => {}); }, 15000); // what was deleted elsewhere is no event
  const arrived = (event) => {
    const mail = JSON.parse(event.data);
    if (list.dataset.query) sync(true).catch(() => {});
    else if (insert(mail, true)) {
      tag = ""; // the list has changed since it was fetched: the same answer as then would be news
      announce(mail);
    }
  };
  source.onmessage = arrived;
  source.addEventListener("mail", arrived);
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) { state("offline", true); return; } // it tries again by itself
    stop();
    poll();
    waiting = Math.min(waiting ? waiting * 2 : 2000, 60000);
    setTimeout(() => { if (!source) stream(); }, waiting);
  };
}

async function listen() {
  if (await mayStream()) stream();
  else poll();
}

// ---- opening a mail without loading the page anew

let latest = 0;
async function swap(url, push = true) {
  const mine = ++latest;
  let page;
  try {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch { page = undefined; }
  if (mine !== latest) return;
  const reader = page && $("#reader", page);
  if (!reader) { location.assign(url); return; }
  if (push) history.pushState(null, "", url);
  $("#reader").replaceChildren(...reader.childNodes);
  $("#reader").scrollTop = 0;
  title = page.title;
  showTitle();
  opened();
}

function opened() {
  const id = $("#reader .mail")?.dataset.id;
  inbox.classList.toggle("reading", Boolean(id));
  inbox.classList.toggle("nothing", !id && !rows().length && !list.dataset.query);
  localise($("#reader"));
  for (const row of rows()) {
    const open = row.dataset.id === id;
    row.classList.toggle("open", open);
    if (open) $("a", row).setAttribute("aria-current", "true");
    else $("a", row).removeAttribute("aria-current");
  }
  if (id) {
    markRead(id);
    rowOf(id)?.scrollIntoView({ block: "nearest" });
  }
}

// ---- keys

function current() {
  const all = rows();
  const focused = all.findIndex((row) => row.contains(document.activeElement));
  return focused >= 0 ? focused : all.findIndex((row) => row.classList.contains("open"));
}

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = current();
  const next = all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by))];
  if (list.offsetParent === null) swap($("a", next).href); // narrow: the list is out of sight
  else $("a", next).focus();
}

function close() {
  const open = $(".row.open a", list);
  if ($("#reader .mail")) swap(path + (list.dataset.query ? "?q=" + encodeURIComponent(list.dataset.query) : "")).then(() => open?.focus());
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, dialog")) return;
  const actions = {
    j: () => step(1), k: () => step(-1), u: close,
    o: () => { const row = rows()[current()]; if (row) swap($("a", row).href); },
    "#": () => $("#delete")?.requestSubmit(),
    "/": () => { if (list.offsetParent === null) close(); $("#q").focus(); $("#q").select(); },
    "?": () => $("#keys").showModal(),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

// ---- beginning

function startInbox() {
  for (const row of rows()) if (read.has(row.dataset.id)) row.classList.remove("unread");
  opened();
  kept.set("recent", [mailbox, ...kept.get("recent").filter((a) => a !== mailbox)].slice(0, 5));
  $("#notify").setAttribute("aria-pressed", String(kept.get("notify") === true && window.Notification?.permission === "granted"));
  $("#notify").addEventListener("click", toggleNotify);
  $("#help").addEventListener("click", () => $("#keys").showModal());
  document.addEventListener("keydown", key);
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".row a, a[data-swap]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    swap(link.href).then(() => { if (event.detail === 0) $("#reader h1")?.focus({ preventScroll: true }); });
  });
  window.addEventListener("popstate", () => swap(location.href, false));
  document.addEventListener("submit", (event) => { if (event.target.id === "delete") gone.add($("#reader .mail").dataset.id); });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { unnoticed = 0; showTitle(); sync().catch(() => {}); }
    if (!navigator.locks) { stop(); listen(); }
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) { stop(); listen(); sync().catch(() => {}); } });
  window.addEventListener("pagehide", stop);
  listen();
}

function startHome() {
  const recent = $("#recent");
  const addresses = kept.get("recent").filter((a) => typeof a === "string");
  if (!recent || !addresses.length) return;
  for (const address of addresses) {
    const link = document.createElement("a");
    const name = document.createElement("bdi");
    link.href = "/inbox/" + encodeURIComponent(address);
    name.textContent = address;
    link.append(name);
    const item = document.createElement("li");
    item.append(link);
    $("ul", recent).append(item);
  }
  recent.hidden = false;
}

async function login(token) {
  const problem = $("#token-problem");
  problem.hidden = true;
  try {
    const answer = await fetch("/login", { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams({ token }) });
    if (answer.ok) { location.replace(location.pathname === "/login" ? "/" : location.pathname); return; }
    problem.textContent = answer.status === 401 ? words.loginfailed : words.failed;
  } catch { problem.textContent = words.failed; }
  problem.hidden = false;
}

function startLogin() {
  $("#login").addEventListener("submit", (event) => { event.preventDefault(); login($("#token").value); });
  const given = new URLSearchParams(location.hash.slice(1)).get("token"); // a link with a token: never sent as a part of a URL
  if (given) { history.replaceState(null, "", location.pathname); login(given); }
}

localise(document);
if (!$("#toast").hidden) {
  toast();
  history.replaceState(null, "", location.pathname);
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-of]");
  if (button) copy(button.dataset.copy ?? $("#" + button.dataset.copyOf).textContent);
});
if (inbox) startInbox();
else if ($("#login")) startLogin();
else if ($("#recent")) startHome();
