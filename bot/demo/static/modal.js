// Draws a person's modal, and keeps what they have typed while it is drawn anew.

import { block } from "/blocks.js";
import { element, icon } from "/dom.js";
import { control, labelled } from "/inputs.js";

export class Modal {
  // `act(deed, more)` returns a promise that rejects with what to tell; `context` is what blocks are drawn with.
  constructor(dialog, act, context) {
    this.dialog = dialog;
    this.act = act;
    this.context = context;
    this.view = null;
    this.typed = new Map();
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); this.close(); });
  }

  get errors() { return this.view.errors; }

  get(where) { return this.typed.has(where.join("\n")) ? this.typed.get(where.join("\n")) : this.view.values[where[0]]?.[where[1]]; }

  set(where, value, told) {
    this.typed.set(where.join("\n"), value);
    // Slack hears of a text when the modal is submitted, and of a choice at once.
    if (told && !this.isText(where)) this.tell(where, value);
  }

  isText(where) {
    return this.view.blocks.some((each) => each.block_id === where[0] && each.control?.type === "plain_text_input");
  }

  tell(where, value) {
    const isInput = this.view.blocks.some((each) => each.type === "input" && each.block_id === where[0]);
    this.attempt("enter", { on: "modal", values: JSON.stringify({ [isInput ? where[0] : where[1]]: value }) });
  }

  suggest(action, query) { return this.act("suggest", { action_id: action, query }).catch(() => []); }

  attempt(deed, more) { return this.act(deed, more).catch((problem) => this.complain(problem.message)); }

  complain(text) {
    const note = this.dialog.querySelector(".trouble");
    if (note) { note.textContent = text; note.hidden = !text; }
  }

  // `view` is null where the person has no modal open.
  show(view) {
    if (!view) {
      this.view = null;
      this.typed.clear();
      if (this.dialog.open) this.dialog.close();
      return;
    }
    if (view.id !== this.view?.id) this.typed.clear();
    const held = this.dialog.contains(document.activeElement) ? document.activeElement.closest("[data-block]")?.dataset.block : null;
    const caret = document.activeElement?.selectionStart;
    const isNew = !this.dialog.open;
    this.view = view;
    this.forget();
    this.draw();
    if (isNew) this.dialog.showModal();
    const wrong = this.dialog.querySelector("[aria-invalid]");
    const back = held && this.dialog.querySelector(`[data-block="${CSS.escape(held)}"] :is(input, textarea, select)`);
    const first = this.dialog.querySelector("[data-focus]") || this.dialog.querySelector(".modal-body :is(input, textarea, select)");
    const wanted = wrong || back || (isNew ? first : null);
    wanted?.focus();
    if (wanted === back && caret !== undefined && caret !== null && back?.matches("textarea, input[type=text]")) back.setSelectionRange(caret, caret);
  }

  // What was typed into an input that is no longer there, or is another one by now, is typed no more.
  forget() {
    for (const key of [...this.typed.keys()]) {
      const [blockId, actionId] = key.split("\n");
      if (this.view.values[blockId]?.[actionId] === undefined) this.typed.delete(key);
    }
  }

  draw() {
    const { view } = this;
    const closer = element("button", { class: "icon", type: "button", "aria-label": "Close" }, icon("close"));
    const cancel = element("button", { class: "button", type: "button" }, view.close);
    for (const made of [closer, cancel]) made.addEventListener("click", () => this.close());
    this.submitter = view.submit ? element("button", { class: "button primary", type: "submit" }, view.submit) : null;
    const trouble = element("p", { class: "trouble", role: "alert", hidden: !view.trouble }, view.trouble || "");
    const form = element("form", { novalidate: true },
      element("header", { class: "modal-top" }, element("span", { class: "glyph" }, icon("bot")), element("h2", { id: "modal-title" }, view.title), closer),
      element("div", { class: "modal-body" }, trouble, ...view.blocks.map((each) => this.block(each))),
      element("footer", { class: "row" }, cancel, this.submitter));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.submit(); });
    this.dialog.replaceChildren(form);
  }

  block(view) {
    if (view.type === "input") return labelled(view, this);
    return block(view, { ...this.context, form: this, press: (button, from) => this.press(button, from),
      control: (each) => control(each, [view.block_id, each.action_id], this) });
  }

  async press(button, from) {
    if (button.confirm && !(await this.context.confirm(button.confirm))) return;
    if (from) from.disabled = true;
    await this.attempt("press", { on: "modal", action_id: button.action_id, value: button.value ?? "" });
    if (from) from.disabled = false;
  }

  async submit() {
    const values = {};
    for (const each of this.view.blocks) {
      if (each.type === "input") values[each.block_id] = this.get([each.block_id, each.control.action_id]) ?? null;
    }
    this.submitter.disabled = true;
    this.submitter.classList.add("busy");
    this.complain("");
    await this.attempt("submit", { values: JSON.stringify(values) });
    if (this.submitter) { this.submitter.disabled = false; this.submitter.classList.remove("busy"); }
  }

  close() { this.attempt("close_view"); }
}
