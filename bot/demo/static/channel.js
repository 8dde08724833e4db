// Draws the lines of a channel or a thread, and keeps each drawn line until it changes.

import { block } from "/blocks.js";
import { clock, element, icon } from "/dom.js";
import { fileCard } from "/files.js";
import { words } from "/words.js";

const initials = (name) => name.split(/\s+/).map((word) => word[0]).join("").slice(0, 2).toUpperCase();
const plural = (count, one) => `${count} ${count === 1 ? one : one.replace(/y$/, "ie") + "s"}`;

export function avatar(author) {
  if (author.bot) return element("span", { class: "avatar of-bot", "aria-hidden": "true" }, icon("bot"));
  return element("span", { class: `avatar hue-${author.hue}`, "aria-hidden": "true" }, initials(author.name));
}

function byline(message, author) {
  const at = Number(message.ts);
  const edits = message.edits
    ? element("span", { class: "edits", title: "Calls of chat.update that changed this message" }, `edited in place ${message.edits === 1 ? "once" : `${message.edits} times`}`)
    : null;
  return element("div", { class: "byline" }, element("b", {}, author.name), author.bot ? element("span", { class: "tag" }, "bot") : null,
    element("time", { datetime: new Date(at * 1000).toISOString() }, clock(at)), edits);
}

function body(message, context) {
  if (!message.by_bot) return element("div", { class: "said" }, ...message.blocks.flatMap((view) => words(view.text, context)));
  const files = message.files.map((file) => fileCard(file, context));
  if (!message.blocks.length) return element("div", { class: "files" }, ...files);
  const card = element("div", { class: "card" }, ...message.blocks.map((view) => block(view, context)));
  return files.length ? element("div", { class: "files" }, card, ...files) : card;
}

function replyLink(message, replies, world) {
  if (!replies.length) return null;
  const mine = replies.some((reply) => reply.mentions.includes(world.me));
  const made = element("button", { class: "replies", type: "button" }, icon("chat"), plural(replies.length, "reply"),
    mine ? element("span", { class: "mention me" }, "mentions you") : null);
  made.addEventListener("click", () => world.openThread(message.ts));
  return made;
}

// What one can do with a message: Slack shows it when one points at it.
function tools(message, world, inThread) {
  const made = [];
  if (!inThread) {
    const reply = element("button", { type: "button", title: "Reply in thread", "aria-label": "Reply in thread" }, icon("chat"));
    reply.addEventListener("click", () => world.openThread(message.ts));
    made.push(reply);
  }
  for (const shortcut of world.shortcuts.filter((each) => each.kind === "message")) {
    const choose = element("button", { type: "button", title: shortcut.name, "data-shortcut": shortcut.callback_id }, icon("bolt"), shortcut.name);
    choose.addEventListener("click", () => world.shortcut(message, shortcut.callback_id));
    made.push(choose);
  }
  return element("div", { class: "tools", role: "group", "aria-label": "Message actions" }, ...made);
}

function drawMessage(message, replies, world, inThread) {
  const author = world.author(message.author);
  const context = world.contextOf(message);
  return element("li", { class: "message", "data-ts": message.ts, "data-by-bot": String(message.by_bot) },
    avatar(author), element("div", { class: "content" }, byline(message, author), body(message, context),
      inThread ? null : replyLink(message, replies, world)), tools(message, world, inThread));
}

function drawPrivate(message, world) {
  const author = world.author(message.author);
  const dismiss = element("button", { class: "dismiss", type: "button" }, "Dismiss");
  dismiss.addEventListener("click", () => world.dismiss(message.ts));
  return element("li", { class: "message private", "data-ts": message.ts }, avatar(author),
    element("div", { class: "content" }, element("p", { class: "only-you" }, icon("eye"), "Only visible to you", dismiss),
      byline(message, author), body(message, world.contextOf(message))));
}

function drawTyped(line) {
  return element("li", { class: "typed", "data-ts": line.ts }, "You typed ", element("code", {}, line.text));
}

function drawGone(line, replies, world) {
  return element("li", { class: "message", "data-ts": line.ts }, element("span", { class: "avatar", "aria-hidden": "true" }, "–"),
    element("div", { class: "content" }, element("p", { class: "gone" }, "This message was deleted."), replyLink(line, replies, world)));
}

function draw(line, replies, world, inThread) {
  if (line.kind === "typed") return drawTyped(line);
  if (line.kind === "gone") return drawGone(line, replies, world);
  return line.only_for ? drawPrivate(line, world) : drawMessage(line, replies, world, inThread);
}

// One list of messages on the page.
export class Lines {
  constructor(list) {
    this.list = list;
    this.drawn = new Map();
    this.title = null;
    this.atEnd = true;
    list.addEventListener("scroll", () => { this.atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80; });
    new ResizeObserver(() => { if (this.atEnd) list.scrollTop = list.scrollHeight; }).observe(list);
  }

  // `title` says which channel this is for whom: another one is drawn afresh, without motion.
  show(title, lines, world, { inThread = false, empty = null } = {}) {
    const fresh = title !== this.title;
    if (fresh) this.clear(title);
    const wanted = new Set(lines.map((line) => line.ts));
    for (const [ts, { node }] of this.drawn) {
      if (!wanted.has(ts)) { node.remove(); this.drawn.delete(ts); }
    }
    this.list.querySelector(".empty")?.remove();
    lines.forEach((line, index) => this.place(line, index, world, inThread, fresh));
    if (!lines.length && empty) this.list.append(element("li", { class: "empty" }, element("b", {}, empty.title), empty.text));
    if (this.atEnd) this.list.scrollTop = this.list.scrollHeight;
  }

  clear(title) {
    this.list.replaceChildren();
    this.drawn.clear();
    this.atEnd = true;
    this.title = title;
  }

  place(line, index, world, inThread, fresh) {
    const replies = inThread ? [] : world.repliesOf(line.ts);
    const seen = JSON.stringify([line, replies.map((reply) => reply.ts)]);
    const before = this.drawn.get(line.ts);
    if (before?.seen === seen) return;
    const node = draw(line, replies, world, inThread);
    if (before) {
      const focused = before.node.contains(document.activeElement) ? document.activeElement.dataset.action : null;
      const isOpen = before.node.querySelector("details.overflow[open]") !== null;
      before.node.replaceWith(node);
      if (isOpen) node.querySelector("details.overflow")?.setAttribute("open", "");
      if (focused) node.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus();
      if (line.edits > before.edits) node.querySelector(".card")?.classList.add("flash");
    } else {
      if (!fresh) node.classList.add("arrive");
      this.list.insertBefore(node, this.list.children[index] || null);
    }
    this.drawn.set(line.ts, { node, seen, edits: line.edits || 0 });
  }
}
