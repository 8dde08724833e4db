// Draws blocks and their texts. Every element is made by name from a fixed list and every text is set
// as text, so nothing that a message says can become markup.

const TAGS = new Set(["p", "h4", "ul", "li", "blockquote", "strong", "em", "s", "code", "pre", "br", "hr", "span",
  "thead", "tbody", "tr"]);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

export function clock(seconds) {
  return new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" }).format(new Date(seconds * 1000));
}

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

export function words(nodes, context) {
  return nodes.map((node) => {
    if (typeof node === "string") return document.createTextNode(node);
    const children = () => words(node.children || [], context);
    switch (node.tag) {
      case "a": return link(node.href, context, children());
      case "time": return dated(node);
      case "mention":
        return element("span", { class: `mention${context.isMe(node.id) ? " me" : ""}` }, ...children());
      case "ol": return element("ol", { start: node.start }, ...children());
      case "th": case "td":
        return element(node.tag, { class: ["right", "center"].includes(node.align) ? node.align : null }, ...children());
      case "table":
        return element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table" }, element("table", {}, ...children()));
      default:
        return element(TAGS.has(node.tag) ? node.tag : "span", {}, ...children());
    }
  });
}

function button(view, context) {
  const style = view.style === "primary" || view.style === "danger" ? ` ${view.style}` : "";
  const label = words(view.text, context);
  if (view.url) {
    const made = element("a", { class: `button${style}`, href: view.url, target: "_blank", rel: "noopener noreferrer", "data-action": view.action_id }, ...label, icon("out"));
    made.addEventListener("click", () => context.press(view, null));
    return made;
  }
  const made = element("button", { class: `button${style}`, type: "button", "data-action": view.action_id }, ...label);
  made.addEventListener("click", () => context.press(view, made));
  return made;
}

function image(view) {
  return element("img", { src: view.url, alt: view.alt, loading: "lazy" });
}

function inside(view, context) {
  if (!view) return null;
  if (view.type === "button") return button(view, context);
  if (view.type === "image") return image(view);
  if (view.type === "text") return element("span", {}, ...words(view.text, context));
  return element("span", { class: "unknown" }, `[${view.name}]`);
}

export function block(view, context) {
  switch (view.type) {
    case "section": {
      const text = element("div", { class: "words" }, ...words(view.text, context));
      if (view.fields.length) {
        text.append(element("div", { class: "fields" }, ...view.fields.map((field) => element("div", {}, ...words(field, context)))));
      }
      return element("div", { class: "section" }, text, inside(view.accessory, context));
    }
    case "markdown": return element("div", { class: "words" }, ...words(view.text, context));
    case "context": return element("div", { class: "context" }, ...view.elements.map((each) => inside(each, context)));
    case "actions": return element("div", { class: "actions" }, ...view.elements.map((each) => inside(each, context)));
    case "header": return element("h4", { class: "card-header" }, ...words(view.text, context));
    case "divider": return element("hr");
    case "image": return element("figure", { class: "picture" }, image(view));
    default: return element("p", { class: "unknown" }, `A block of type “${view.name}”, which this demo does not draw.`);
  }
}
