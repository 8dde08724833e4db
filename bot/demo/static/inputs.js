// Draws what a person enters something into. `form` keeps it: `form.get(where)`, `form.set(where, value, told)`, where
// `where` is [block_id, action_id] and `told` says whether the person has finished with it.

import { element } from "/dom.js";
import { words } from "/words.js";

let count = 0;
const fresh = () => `input-${(count += 1)}`;

function textInput(view, where, form, id) {
  const made = view.multiline
    ? element("textarea", { id, rows: 3, maxlength: view.max_length, placeholder: view.placeholder })
    : element("input", { id, type: "text", maxlength: view.max_length, placeholder: view.placeholder, autocomplete: "off" });
  made.value = form.get(where) ?? "";
  made.addEventListener("input", () => form.set(where, made.value || null, false));
  made.addEventListener("change", () => form.set(where, made.value || null, true));
  return made;
}

function menu(view, where, form, id) {
  const made = element("select", { id }, element("option", { value: "" }, view.placeholder || "Choose…"),
    ...view.options.map((option) => element("option", { value: option.value }, option.plain)));
  made.value = form.get(where) ?? "";
  made.addEventListener("change", () => form.set(where, made.value || null, true));
  return made;
}

// A menu whose options the app is asked for as one types.
function search(view, where, form, id) {
  const list = element("ul", { class: "found", role: "listbox", "aria-label": "Choices" });
  const made = element("input", { id, type: "search", placeholder: view.placeholder || "Type to search", autocomplete: "off" });
  const chosen = view.options.find((option) => option.value === form.get(where));
  made.value = chosen?.plain ?? form.get(where) ?? "";
  let turn = 0;
  async function ask() {
    const mine = (turn += 1);
    if (made.value.length < view.min_query_length) { list.replaceChildren(); return; }
    const options = await form.suggest(view.action_id, made.value);
    if (mine !== turn) return; // something else has been typed since
    list.replaceChildren(...options.map((option) => {
      const item = element("button", { type: "button", role: "option" }, ...words(option.text, form.context));
      item.addEventListener("click", () => { made.value = option.plain; list.replaceChildren(); form.set(where, option.value, true); });
      return element("li", {}, item);
    }));
  }
  made.addEventListener("input", () => { form.set(where, null, false); ask(); });
  made.addEventListener("focus", ask);
  return element("div", { class: "search" }, made, list);
}

function choices(view, where, form, label) {
  const many = view.type === "checkboxes";
  const name = fresh();
  const held = () => [form.get(where) ?? []].flat();
  const boxes = view.options.map((option) => {
    const box = element("input", { type: many ? "checkbox" : "radio", name, value: option.value, checked: held().includes(option.value) });
    box.addEventListener("change", () => {
      const rest = held().filter((value) => value !== option.value);
      form.set(where, many ? (box.checked ? [...rest, option.value] : rest) : option.value, true);
    });
    const about = option.description.length ? element("small", {}, ...words(option.description, form.context)) : null;
    return element("label", { class: "choice" }, box, element("span", {}, ...words(option.text, form.context), about));
  });
  return element("div", { class: "choices", role: many ? "group" : "radiogroup", "aria-label": label }, ...boxes);
}

export function control(view, where, form, { id = fresh(), label = view.placeholder || "Choose" } = {}) {
  switch (view.type) {
    case "plain_text_input": return textInput(view, where, form, id);
    case "static_select": case "conversations_select": return menu(view, where, form, id);
    case "external_select": return search(view, where, form, id);
    case "radio_buttons": case "checkboxes": return choices(view, where, form, label);
    default: return element("p", { class: "unknown" }, `An input of type “${view.type}”, which this demo does not draw.`);
  }
}

// An input with its label, its hint, and what is wrong with it.
export function labelled(view, form) {
  const id = fresh();
  const wrong = form.errors[view.block_id];
  const made = control(view.control, [view.block_id, view.control.action_id], form, { id, label: view.label });
  const field = made.matches("input, textarea, select") ? made : made.querySelector("input");
  const notes = [];
  if (wrong) notes.push(element("p", { class: "wrong", id: `${id}-wrong`, role: "alert" }, wrong));
  if (view.hint) notes.push(element("p", { class: "hint-text", id: `${id}-hint` }, view.hint));
  if (wrong) field?.setAttribute("aria-invalid", "true");
  if (notes.length) field?.setAttribute("aria-describedby", notes.map((note) => note.id).join(" "));
  if (view.control.has_focus) field?.setAttribute("data-focus", "");
  const optional = view.optional ? element("span", { class: "optional" }, " (optional)") : null;
  return element("div", { class: `input${wrong ? " bad" : ""}`, "data-block": view.block_id },
    element("label", { for: id }, view.label, optional), made, ...notes);
}
