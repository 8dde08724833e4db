// The demo page: keeps what the server tells, and draws it for the person and the channel chosen.

import { element, icon } from "/dom.js";
import { Composer } from "/composer.js";
import { Lines, avatar } from "/channel.js";
import { drawBanner, drawGauges } from "/gauges.js";

const $ = (id) => document.getElementById(id);
const world = {
  me: "", place: "", thread: null, bot: "", people: [], channels: [], samples: [], started: [], url: "",
  messages: new Map(), private: new Map(), typed: [], gone: new Map(), dismissed: new Set(), unread: new Map(),
};
const lines = new Lines($("messages"));
const threadLines = new Lines($("thread-messages"));
let composer = null;

// ---- what is kept between visits

function recall(key) { try { return localStorage.getItem(key); } catch { return null; } }
function keep(key, value) { try { localStorage.setItem(key, value); } catch { /* private window */ } }

// ---- asking the server

async function act(deed, more = {}) {
  // What comes of one's own deed is looked at: at the end of the channel, unless it is about a card in it.
  if (!more.ts) lines.atEnd = true;
  let response;
  try {
    response = await fetch("/do", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ do: deed, user: world.me, channel: world.place, ...more }) });
  } catch {
    throw new Error("The demo does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || "That did not work.");
  return answer.result;
}

const attempt = (deed, more) => act(deed, more).catch((problem) => composer.say(problem.message, true));

// ---- the world as the drawing code sees it

world.author = (id) => {
  const at = world.people.findIndex((person) => person.id === id);
  return at < 0 ? { name: "Omni job bot", bot: true } : { name: world.people[at].name, hue: at };
};
world.repliesOf = (ts) => [...world.messages.values()].filter((message) => message.thread_ts === ts && message.channel === world.place);
world.dismiss = (ts) => { world.dismissed.add(ts); redraw(); composer.input.focus(); };
world.openThread = (ts) => { world.thread = ts; redraw(); $("thread").querySelector("[data-close]").focus(); };
world.contextOf = (message) => ({
  isMe: (id) => id === world.me,
  press: (button, from) => press(message, button, from),
  jump: (href) => jumpTo(href),
  fileUrl: (id) => `${world.url}files/${encodeURIComponent(id)}/picture`,
});

function jumpTo(href) {
  const at = /\/archives\/([A-Z0-9]+)\/p(\d{10})(\d{6})/.exec(href);
  if (!at || !href.startsWith(world.url)) return null;
  return () => {
    if (world.channels.some((channel) => channel.id === at[1])) go(at[1]);
    const card = $("messages").querySelector(`[data-ts="${at[2]}.${at[3]}"] .card`);
    card?.scrollIntoView({ block: "center" });
    card?.classList.remove("flash");
    requestAnimationFrame(() => card?.classList.add("flash"));
  };
}

async function press(message, button, from) {
  if (button.confirm && !(await confirmed(button.confirm))) return;
  if (from) from.disabled = true;
  await attempt("click", { channel: message.channel, ts: message.ts, action_id: button.action_id });
  if (from) from.disabled = false;
}

function confirmed({ title, text, confirm, deny }) {
  const said = (nodes) => nodes.map((node) => (typeof node === "string" ? node : (node.children || []).join(""))).join("");
  const dialog = $("ask");
  $("ask-title").textContent = said(title) || "Are you sure?";
  $("ask-text").textContent = said(text);
  $("ask-yes").textContent = said(confirm) || "Yes";
  $("ask-no").textContent = said(deny) || "Cancel";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// ---- drawing

const channelOf = (id) => world.channels.find((channel) => channel.id === id);
const visible = (channel) => channel.members.includes(world.me);
const sign = (channel) => ({ public: "hash", private: "lock", direct: "bot" })[channel.kind];

function about(channel) {
  if (channel.kind === "direct") return "Your direct message with the bot";
  if (channel.has_bot) return "The bot is a member here";
  return "The bot is not a member here: cards go to your direct message";
}

function linesHere() {
  const here = (line) => line.channel === world.place;
  const mine = (line) => (line.only_for ?? line.user) === world.me;
  return [
    ...[...world.messages.values()].filter((message) => here(message) && !message.thread_ts),
    ...[...world.gone.values()].filter((line) => here(line) && world.repliesOf(line.ts).length),
    ...[...world.private.values()].filter((line) => here(line) && mine(line) && !world.dismissed.has(line.ts)),
    ...world.typed.filter((line) => here(line) && mine(line)),
  ].sort((one, other) => (one.ts < other.ts ? -1 : 1));
}

function redraw() {
  const channel = channelOf(world.place);
  if (!channel) return;
  const empty = { title: "Nothing here yet", text: `Pick a sample under “Try it”, or type ${world.command} and a job id below.` };
  lines.show(`${world.me} ${world.place}`, linesHere(), world, { empty });
  drawThread(channel);
  drawChannels();
  const cards = [...world.messages.values()].filter((message) => message.channel === world.place && message.by_bot && !message.thread_ts);
  const newest = cards.sort((one, other) => (one.ts < other.ts ? -1 : 1)).at(-1);
  $("card-edits").textContent = newest ? String(newest.edits) : "none yet";
  $("delete").disabled = !newest;
  world.newest = newest;
}

function drawThread(channel) {
  const parent = world.messages.get(world.thread) || world.gone.get(world.thread);
  const open = parent !== undefined && parent.channel === world.place;
  $("thread").hidden = !open;
  if (!open) { world.thread = null; return; }
  $("thread-place").textContent = channel.kind === "direct" ? channel.name : `#${channel.name}`;
  threadLines.show(`${world.me} ${world.thread}`, [parent, ...world.repliesOf(world.thread)], world, { inThread: true });
}

function drawChannels() {
  const items = (channels) => channels.map((channel) => {
    const unread = world.unread.get(`${world.me} ${channel.id}`) || 0;
    const made = element("button", { class: `channel${unread ? " unread" : ""}`, type: "button", "aria-current": String(channel.id === world.place) },
      icon(sign(channel)), element("b", {}, channel.name),
      unread ? element("span", { class: "count", "aria-label": `${unread} new` }, unread) : null,
      channel.has_bot ? null : element("span", { class: "without" }, "no bot"));
    made.addEventListener("click", () => { go(channel.id); close("side"); });
    return element("li", {}, made);
  });
  const focused = document.activeElement?.classList.contains("channel") ? document.activeElement.textContent : null;
  $("channels").replaceChildren(...items(world.channels.filter((c) => visible(c) && c.kind !== "direct")));
  $("directs").replaceChildren(...items(world.channels.filter((c) => visible(c) && c.kind === "direct")));
  if (focused) [...document.querySelectorAll(".channel")].find((made) => made.textContent === focused)?.focus();
  const channel = channelOf(world.place);
  $("place").replaceChildren(icon(sign(channel)), channel.name);
  $("about").textContent = about(channel);
}

function drawPeople() {
  const choices = world.people.map((person, hue) => {
    const input = element("input", { type: "radio", name: "me", value: person.id, checked: person.id === world.me });
    input.addEventListener("change", () => become(person.id));
    return element("label", {}, input, avatar({ name: person.name, hue }), person.name.split(" ")[0]);
  });
  $("people").replaceChildren($("people").querySelector("legend"), ...choices);
}

function drawSamples() {
  for (const group of ["course", "answer"]) drawGroup($(`samples-${group}`), world.samples.filter((sample) => sample.group === group));
}

function drawGroup(list, samples) {
  list.replaceChildren(...samples.map((sample) => {
    const made = element("button", { class: "sample", type: "button", "data-sample": sample.key },
      element("b", {}, sample.title), element("span", {}, sample.hint));
    made.addEventListener("click", () => { close("desk"); attempt("sample", { key: sample.key }); });
    return element("li", {}, made);
  }));
}

function drawPulse(pulse) {
  world.pulse = pulse;
  drawGauges(pulse, { startAgain: () => attempt("start") });
}

// ---- moving about

function go(channel) {
  world.place = channel;
  world.unread.delete(`${world.me} ${channel}`);
  keep("demo.place", channel);
  redraw();
}

function become(person) {
  const wasDirect = channelOf(world.place)?.kind === "direct";
  world.me = person;
  keep("demo.me", person);
  drawPeople();
  const own = world.channels.find((channel) => channel.kind === "direct" && visible(channel));
  go(wasDirect || !visible(channelOf(world.place)) ? own.id : world.place);
  $("people").querySelector("input:checked").focus();
}

function open(id) {
  $(id).classList.add("open");
  $("veil").hidden = false;
  document.querySelector(`[data-open="${id}"]`).setAttribute("aria-expanded", "true");
  $(id).querySelector("[data-close]").focus();
}

function close(id) {
  if (id === "thread") { world.thread = null; redraw(); $("command").focus(); return; }
  const opener = document.querySelector(`[data-open="${id}"]`);
  if ($(id).classList.contains("open")) opener.focus();
  $(id).classList.remove("open");
  $("veil").hidden = true;
  opener.setAttribute("aria-expanded", "false");
}

// ---- what the server tells

function arrived(message) {
  const known = world.messages.get(message.ts);
  world.messages.set(message.ts, message);
  const here = message.channel === world.place;
  if (!known && !here) {
    for (const person of world.people) {
      const key = `${person.id} ${message.channel}`;
      if (message.author !== person.id) world.unread.set(key, (world.unread.get(key) || 0) + 1);
    }
  }
  if (here && message.by_bot) announce(`${known ? "Card changed" : "Omni job bot"}: ${message.said}`);
}

let silence = 0;
function announce(text) {
  clearTimeout(silence);
  silence = setTimeout(() => { $("announce").textContent = text.slice(0, 300); }, 150);
}

const on = {
  snapshot(event) {
    Object.assign(world, { bot: event.bot, people: event.people, channels: event.channels, samples: event.samples,
      started: event.started, command: event.command, url: event.workspace_url });
    world.messages = new Map(event.messages.map((message) => [message.ts, message]));
    world.private = new Map(event.private.map((message) => [message.ts, message]));
    world.me = event.people.some((person) => person.id === (world.me || recall("demo.me"))) ? world.me || recall("demo.me") : event.people[0].id;
    const wanted = channelOf(world.place || recall("demo.place"));
    world.place = wanted && visible(wanted) ? wanted.id : event.channels[0].id;
    composer ||= new Composer($("composer"), event.command, { send: (text) => act("type", { text }), jobs: () => world.started });
    drawPeople();
    drawSamples();
    drawPulse(event.pulse);
    redraw();
    document.body.dataset.ready = "yes";
  },
  pulse: drawPulse,
  channels(event) { world.channels = event.channels; redraw(); },
  started(event) { world.started.push(event.job); },
  posted(event) { arrived(event.message); redraw(); },
  updated(event) { arrived(event.message); redraw(); },
  ephemeral(event) {
    world.private.set(event.message.ts, event.message);
    if (event.message.only_for === world.me && event.message.channel === world.place) announce(`Only visible to you: ${event.message.said}`);
    redraw();
  },
  deleted(event) {
    const { ts, channel } = event.message;
    world.private.delete(ts);
    if (world.messages.delete(ts)) world.gone.set(ts, { kind: "gone", ts, channel });
    redraw();
  },
  typed(event) {
    world.typed.push({ kind: "typed", ts: event.message.ts, text: event.message.text, channel: event.channel, user: event.user });
    redraw();
  },
};

const stream = new EventSource("/events");
stream.onmessage = (message) => { const event = JSON.parse(message.data); on[event.kind]?.(event); };
stream.onerror = () => { if (world.pulse) drawBanner({ ...world.pulse, bot: "lost" }, {}); };

// ---- fixed controls

for (const made of document.querySelectorAll("[data-open]")) made.addEventListener("click", () => open(made.dataset.open));
for (const made of document.querySelectorAll("[data-close]")) made.addEventListener("click", () => close(made.dataset.close));
$("veil").addEventListener("click", () => { close("side"); close("desk"); });
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || $("ask").open || event.defaultPrevented) return;
  const opened = ["side", "desk"].find((id) => $(id).classList.contains("open"));
  if (opened) close(opened);
  else if (world.thread) close("thread");
});
for (const fieldset of document.querySelectorAll("[data-switch]")) {
  fieldset.addEventListener("change", (event) => attempt(fieldset.dataset.switch, { trouble: event.target.value }));
}
$("kill").addEventListener("click", () => attempt("kill"));
$("start").addEventListener("click", () => attempt("start"));
$("delete").addEventListener("click", () => attempt("delete", { channel: world.newest.channel, ts: world.newest.ts }));

const THEMES = ["system", "light", "dark"];
function dress(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").querySelector("span").textContent = `Theme: ${theme}`;
  keep("demo.theme", theme);
}
$("theme").addEventListener("click", () => dress(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
dress(THEMES.includes(recall("demo.theme")) ? recall("demo.theme") : "system");
