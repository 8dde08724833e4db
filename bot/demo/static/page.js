// The demo page: keeps what the server tells, and draws it for the person and the channel chosen.

import { element, icon } from "/dom.js";
import { Composer } from "/composer.js";
import { Lines } from "/channel.js";
import { confirmed } from "/confirm.js";
import { drawBanner, drawGauges } from "/gauges.js";
import { drawHome } from "/home.js";
import { Menu } from "/menu.js";
import { Modal } from "/modal.js";
import { replies } from "/reply.js";
import { about, drawChannels, drawPeople, drawSamples, drawShortcuts, sign } from "/sidebar.js";
import { themes } from "/theme.js";

const $ = (id) => document.getElementById(id);
const world = {
  me: "", place: "", thread: null, tab: "messages", bot: "", people: [], channels: [], samples: [], started: [], url: "",
  offers: [], shortcuts: [], modals: new Map(), homes: new Map(), messages: new Map(), private: new Map(), typed: [], gone: new Map(), dismissed: new Set(), unread: new Map(),
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

const sure = (dialog) => confirmed($("ask"), dialog);
const attempt = (deed, more) => act(deed, more).catch((problem) => composer.say(problem.message, true));

// ---- the world as the drawing code sees it

world.author = (id) => {
  const at = world.people.findIndex((person) => person.id === id);
  return at < 0 ? { name: "Omni job bot", bot: true } : { name: world.people[at].name, hue: at };
};
world.repliesOf = (ts) => [...world.messages.values()].filter((message) => message.thread_ts === ts && message.channel === world.place);
world.dismiss = (ts) => { world.dismissed.add(ts); redraw(); composer.input.focus(); };
world.openThread = (ts) => { world.thread = ts; redraw(); $("reply").focus(); };
world.shortcut = (message, callback) => attempt("message_shortcut", { channel: message.channel, ts: message.ts, callback_id: callback });

const context = {
  isMe: (id) => id === world.me,
  jump: (href) => jumpTo(href),
  confirm: sure,
  fileUrl: (id) => `${world.url}files/${encodeURIComponent(id)}/picture`,
};
const pressing = (deed, more) => async (button, from) => {
  if (button.confirm && !(await sure(button.confirm))) return;
  if (from) from.disabled = true;
  await attempt(deed, { ...more, action_id: button.action_id, value: button.value ?? "" });
  if (from) from.disabled = false;
};
const entering = (action, value) => attempt("enter", { on: "home", values: JSON.stringify({ [action]: value }) });
world.contextOf = (message) => ({ ...context, press: pressing("click", { channel: message.channel, ts: message.ts }) });
const menu = new Menu($("plus"), $("shortcuts"));
const modal = new Modal($("modal"), act, context);

function jumpTo(href) {
  const at = /\/archives\/([A-Z0-9]+)\/p(\d{10})(\d{6})(?:\?thread_ts=([\d.]+))?/.exec(href);
  if (!at || !href.startsWith(world.url)) return null;
  return () => {
    if (world.channels.some((channel) => channel.id === at[1])) go(at[1]);
    if (at[4]) world.openThread(at[4]);
    const list = $(at[4] ? "thread-messages" : "messages");
    const card = list.querySelector(`[data-ts="${at[2]}.${at[3]}"] .card`);
    card?.scrollIntoView({ block: "center" });
    card?.classList.remove("flash");
    requestAnimationFrame(() => card?.classList.add("flash"));
  };
}

// ---- drawing

const channelOf = (id) => world.channels.find((channel) => channel.id === id);
const visible = (channel) => channel.members.includes(world.me);

function linesHere() {
  const here = (line) => line.channel === world.place;
  const mine = (line) => (line.only_for ?? line.user) === world.me;
  return [
    ...[...world.messages.values()].filter((message) => here(message) && !message.thread_ts),
    ...[...world.gone.values()].filter((line) => here(line) && world.repliesOf(line.ts).length),
    ...[...world.private.values()].filter((line) => here(line) && !line.thread_ts && mine(line) && !world.dismissed.has(line.ts)),
    ...world.typed.filter((line) => here(line) && mine(line)),
  ].sort((one, other) => (one.ts < other.ts ? -1 : 1));
}

function redraw() {
  const channel = channelOf(world.place);
  if (!channel) return;
  const share = channel.kind === "direct" ? " Share to channel… in the menu of an answer here posts it for others." : "";
  const empty = { title: "Nothing here yet", text: `Pick a sample under “Try it”, or type / below to ask Omni or to follow a job.${share}` };
  lines.show(`${world.me} ${world.place}`, linesHere(), world, { empty });
  drawThread(channel);
  drawChannels(world, (id) => { go(id); close("side"); });
  $("place").replaceChildren(icon(sign(channel)), channel.name);
  $("about").textContent = about(channel);
  drawTab(channel);
  const cards = [...world.messages.values()].filter((message) => message.channel === world.place && message.by_bot && !message.thread_ts);
  const newest = cards.sort((one, other) => (one.ts < other.ts ? -1 : 1)).at(-1);
  $("card-edits").textContent = newest ? String(newest.edits) : "none yet";
  $("delete").disabled = !newest;
  world.newest = newest;
}

// In the direct message with the app one can also look at its Home tab.
function drawTab(channel) {
  const atHome = channel.kind === "direct" && world.tab === "home";
  $("tabs").hidden = channel.kind !== "direct";
  for (const made of $("tabs").children) made.setAttribute("aria-selected", String(made.dataset.tab === (atHome ? "home" : "messages")));
  $("home").hidden = !atHome;
  $("messages").hidden = $("composer").hidden = atHome;
  if (atHome) drawHome($("home"), world.homes.get(world.me) || null, { ...context, press: pressing("press", { on: "home" }), enter: entering }, world.homeTrouble);
}

function drawThread(channel) {
  const parent = world.messages.get(world.thread) || world.gone.get(world.thread);
  const open = parent !== undefined && parent.channel === world.place;
  $("thread").hidden = !open;
  if (!open) { world.thread = null; return; }
  $("thread-place").textContent = channel.kind === "direct" ? channel.name : `#${channel.name}`;
  const mine = [...world.private.values()].filter((line) => line.thread_ts === world.thread && line.only_for === world.me && !world.dismissed.has(line.ts));
  const replies = [...world.repliesOf(world.thread), ...mine].sort((one, other) => (one.ts < other.ts ? -1 : 1));
  threadLines.show(`${world.me} ${world.thread}`, [parent, ...replies], world, { inThread: true });
  $("reply").placeholder = channel.kind === "direct" ? "Reply: ask a follow-up" : "Reply: @omni-job-bot asks a follow-up";
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
  if (channelOf(channel)?.kind !== "direct") world.tab = "messages";
  redraw();
  if (world.tab === "home") openHome();
}

function turn(tab) {
  world.tab = tab;
  redraw();
  if (tab === "home") openHome();
}

async function openHome() {
  world.homeTrouble = await act("open_home").then(() => null, (problem) => problem.message);
  redraw();
}

function become(person) {
  const wasDirect = channelOf(world.place)?.kind === "direct";
  world.me = person;
  keep("demo.me", person);
  drawPeople(world, become);
  modal.show(world.modals.get(person) || null);
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
      started: event.started, offers: event.offers, shortcuts: event.shortcuts, url: event.workspace_url });
    world.modals = new Map(Object.entries(event.modals));
    world.homes = new Map(Object.entries(event.homes));
    world.messages = new Map(event.messages.map((message) => [message.ts, message]));
    world.private = new Map(event.private.map((message) => [message.ts, message]));
    world.me = event.people.some((person) => person.id === (world.me || recall("demo.me"))) ? world.me || recall("demo.me") : event.people[0].id;
    const wanted = channelOf(world.place || recall("demo.place"));
    world.place = wanted && visible(wanted) ? wanted.id : event.channels[0].id;
    composer ||= new Composer($("composer"), { offers: () => world.offers, send: (text) => act("type", { text }), jobs: () => world.started });
    drawPeople(world, become);
    drawSamples(world, (key) => { close("desk"); attempt("sample", { key }); });
    drawShortcuts(world, (callback) => { menu.open(false); attempt("shortcut", { callback_id: callback }); });
    drawPulse(event.pulse);
    redraw();
    modal.show(world.modals.get(world.me) || null);
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
  view(event) {
    world.modals.set(event.user, event.view);
    if (event.user === world.me) modal.show(event.view);
  },
  home(event) {
    world.homes.set(event.user, event.view);
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
document.addEventListener("click", (event) => {
  for (const opened of document.querySelectorAll("details.overflow[open]")) {
    if (!opened.contains(event.target)) opened.open = false;
  }
});
$("veil").addEventListener("click", () => { close("side"); close("desk"); });
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || $("ask").open || $("modal").open || event.defaultPrevented) return;
  const opened = ["side", "desk"].find((id) => $(id).classList.contains("open"));
  if (opened) close(opened);
  else if (world.thread) close("thread");
});
for (const made of $("tabs").children) made.addEventListener("click", () => turn(made.dataset.tab));
for (const fieldset of document.querySelectorAll("[data-switch]")) {
  fieldset.addEventListener("change", (event) => attempt(fieldset.dataset.switch, { trouble: event.target.value }));
}
$("kill").addEventListener("click", () => attempt("kill"));
$("start").addEventListener("click", () => attempt("start"));
$("delete").addEventListener("click", () => attempt("delete", { channel: world.newest.channel, ts: world.newest.ts }));
replies($("reply-form"), (text) => { threadLines.atEnd = true; return act("type", { text, thread: world.thread }); });
themes($("theme"), recall("demo.theme"), (theme) => keep("demo.theme", theme));
