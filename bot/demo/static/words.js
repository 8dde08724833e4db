// Draws the trees that texts come as. Every element is made by name from a fixed list and every text is set
// as text, so nothing that a message says can become markup.

import { element } from "/dom.js";

const TAGS = new Set(["p", "h4", "blockquote", "strong", "em", "s", "code", "br", "hr", "span",
  "thead", "tbody", "tr"]);

// What Slack's date tokens mean: docs.slack.dev/messaging/formatting-message-text, "Date formatting".
const DATES = {
  date_num: { year: "numeric", month: "2-digit", day: "2-digit" },
  date: { year: "numeric", month: "long", day: "numeric" },
  date_short: { year: "numeric", month: "short", day: "numeric" },
  date_long: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  time: { hour: "2-digit", minute: "2-digit" },
  time_secs: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

function pretty(date) {
  const day = (at) => Math.floor((at.getTime() - at.getTimezoneOffset() * 60000) / 86400000);
  return { 0: "today", "-1": "yesterday", 1: "tomorrow" }[day(date) - day(new Date())];
}

function dated(node) {
  const date = new Date(node.unix * 1000);
  const words = node.format.replace(/\{(\w+)\}/g, (token, name) => {
    const plain = name.replace(/_pretty$/, "");
    if (!(plain in DATES)) return token;
    return (plain !== name && pretty(date)) || new Intl.DateTimeFormat("en-GB", DATES[plain]).format(date);
  });
  return element("time", { datetime: date.toISOString(), title: node.fallback }, words);
}

function link(href, context, children) {
  const jump = context.jump(href);
  const made = element("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...children);
  if (jump) made.addEventListener("click", (event) => { event.preventDefault(); jump(); });
  return made;
}

// An item of a list, with a box before it where it is a task.
function item(node, children) {
  if (!node.task) return element("li", {}, ...children);
  const done = node.task === "done";
  const box = element("span", { class: `box-of-task${done ? " done" : ""}`, role: "img", "aria-label": done ? "Done:" : "To do:" }, done ? "✓" : "");
  return element("li", { class: "task-item" }, box, ...children);
}

function fence(node, children) {
  const code = element("pre", { tabindex: 0 }, ...children);
  return node.language ? element("div", { class: "fence" }, element("span", { class: "language" }, node.language), code) : code;
}

export function words(nodes, context) {
  return nodes.map((node) => {
    if (typeof node === "string") return document.createTextNode(node);
    const children = () => words(node.children || [], context);
    switch (node.tag) {
      case "a": return link(node.href, context, children());
      case "time": return dated(node);
      case "mention":
        return element("span", { class: `mention${context.isMe(node.id) ? " me" : ""}` }, ...children());
      case "ul": case "ol":
        return element(node.tag, { dir: "auto", start: node.start ?? null, class: node.indent ? `indent-${node.indent}` : null }, ...children());
      case "li": return item(node, children());
      case "pre": return fence(node, children());
      case "th": case "td":
        return element(node.tag, { class: ["right", "center"].includes(node.align) ? node.align : null }, ...children());
      case "table":
        return element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table" }, element("table", {}, ...children()));
      default:
        return element(TAGS.has(node.tag) ? node.tag : "span", {}, ...children());
    }
  });
}
