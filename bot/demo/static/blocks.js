// Draws blocks. What is in them is drawn in words.js and data.js.

import { chart, dataTable } from "/data.js";
import { element, icon } from "/dom.js";
import { words } from "/words.js";

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

// The menu "⋯". A choice is a click whose name is the first word of the option's value.
function overflow(view, context) {
  const opener = element("summary", { class: "button", "aria-label": "More actions", "data-action": view.action_id }, "⋯");
  const list = element("ul", { class: "menu" });
  const made = element("details", { class: "overflow" }, opener, list);
  for (const option of view.options) {
    const name = option.value.split(" ")[0];
    const item = element("button", { type: "button", "data-action": name }, ...words(option.text, context));
    item.addEventListener("click", () => { made.open = false; opener.focus(); context.press({ action_id: name, confirm: view.confirm }, null); });
    list.append(element("li", {}, item));
  }
  made.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !made.open) return;
    made.open = false;
    opener.focus();
    event.preventDefault();
  });
  return made;
}

// Slack's buttons for feedback. As in a menu, the name of a click is the first word of the value.
function feedback(view, context) {
  return element("div", { class: "feedback" }, ...view.buttons.map((each) => {
    const name = each.value.split(" ")[0];
    const made = element("button", { class: "button", type: "button", "aria-label": each.label, title: each.label, "data-action": name }, ...words(each.text, context));
    made.addEventListener("click", () => context.press({ action_id: name }, made));
    return made;
  }));
}

function image(view, context) {
  return element("img", { src: view.url || context.fileUrl(view.file), alt: view.alt, loading: "lazy" });
}

const CONTROLS = new Set(["static_select", "external_select", "radio_buttons", "checkboxes"]);
const STATUS = { in_progress: "in progress", complete: "done", error: "failed", pending: "waiting" };

function task(view, context) {
  const sign = element("span", { class: `sign ${view.status}`, role: "img", "aria-label": `${STATUS[view.status] || view.status}:` });
  const text = element("div", { class: "words" }, view.title ? element("p", { class: "task-title" }, view.title) : null);
  for (const part of ["details", "output"]) {
    if (view[part].length) text.append(element("div", { class: `task-${part}` }, ...words(view[part], context)));
  }
  if (view.sources.length) text.append(element("p", { class: "task-sources" }, ...view.sources.flatMap((source) => [...words([source], context), " "])));
  return element("div", { class: `task ${view.status}` }, sign, text);
}

// Slack folds a plan up after each edit; here it stays open until it is closed.
function plan(view, context) {
  return element("details", { class: "plan", open: "" }, element("summary", {}, view.title), ...view.tasks.map((each) => task(each, context)));
}

function picture(view, context) {
  const title = view.title?.length ? element("figcaption", {}, ...words(view.title, context)) : null;
  return element("figure", { class: "picture" }, title, image(view, context));
}

function inside(view, context) {
  if (!view) return null;
  if (view.type === "button") return button(view, context);
  if (view.type === "overflow") return overflow(view, context);
  if (view.type === "feedback") return feedback(view, context);
  if (view.type === "image") return image(view, context);
  if (context.control && CONTROLS.has(view.type)) return context.control(view);
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
    case "context_actions":
    case "actions": return element("div", { class: "actions" }, ...view.elements.map((each) => inside(each, context)));
    case "header": return element("h4", { class: "card-header" }, ...words(view.text, context));
    case "divider": return element("hr");
    case "image": return picture(view, context);
    case "task": return task(view, context);
    case "plan": return plan(view, context);
    case "data_table": return dataTable(view, context);
    case "chart": return chart(view);
    default: return element("p", { class: "unknown" }, `A block of type “${view.name}”, which this demo does not draw.`);
  }
}
