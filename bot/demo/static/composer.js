// The line at the bottom, with the list of commands that opens while a command is typed.

import { element } from "/dom.js";

export class Composer {
  // `offers()` is what can be completed; `send(text)` returns a promise that rejects with what to tell; `jobs()` are
  // the jobs started here.
  constructor(form, { offers, send, jobs }) {
    this.input = form.querySelector("input");
    this.hints = form.querySelector(".hints");
    this.note = form.querySelector(".note");
    this.known = offers;
    this.jobs = jobs;
    this.send = send;
    this.chosen = -1;
    this.history = [];
    form.addEventListener("submit", (event) => { event.preventDefault(); this.submit(); });
    this.input.addEventListener("input", () => this.suggest());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => setTimeout(() => { if (document.activeElement !== this.input) this.close(); }, 120));
    this.input.addEventListener("focus", () => this.suggest());
  }

  offers() {
    const [follow] = this.known();
    const jobs = this.jobs().slice(-5).reverse()
      .map((job) => ({ text: `${follow.text}${job.id}`, about: job.title }));
    return [...this.known(), ...jobs].map((offer) => ({ ...offer, sends: !offer.text.endsWith(" ") }));
  }

  suggest() {
    const typed = this.input.value;
    this.say("");
    this.shown = /^[/@]/.test(typed) ? this.offers().filter((offer) => offer.text.startsWith(typed) && offer.text !== typed) : [];
    this.chosen = -1;
    this.hints.replaceChildren(...this.shown.map((offer, index) => {
      const item = element("li", { class: "hint", role: "option", id: `hint-${index}`, "aria-selected": "false" },
        element("code", {}, offer.shown || offer.text), element("span", {}, offer.about));
      item.addEventListener("mousedown", (event) => { event.preventDefault(); this.take(index); });
      return item;
    }));
    this.open(this.shown.length > 0);
  }

  open(yes) {
    this.hints.hidden = !yes;
    this.input.setAttribute("aria-expanded", String(yes));
    if (!yes) this.input.removeAttribute("aria-activedescendant");
  }

  close() { this.open(false); this.chosen = -1; }

  choose(index) {
    const count = this.shown.length;
    this.chosen = ((index % count) + count) % count;
    [...this.hints.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === this.chosen)));
    this.hints.children[this.chosen].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", `hint-${this.chosen}`);
  }

  take(index) {
    this.input.value = this.shown[index].text;
    this.input.focus();
    this.suggest();
  }

  key(event) {
    const open = !this.hints.hidden;
    if (open && event.key === "ArrowDown") this.choose(this.chosen + 1);
    else if (open && event.key === "ArrowUp") this.choose(this.chosen < 0 ? -1 : this.chosen - 1);
    else if (open && event.key === "Escape") this.close();
    else if (open && event.key === "Tab" && !event.shiftKey) this.take(Math.max(this.chosen, 0));
    else if (open && event.key === "Enter" && this.chosen >= 0) {
      const { sends } = this.shown[this.chosen];
      this.take(this.chosen);
      if (sends) this.submit();
    } else if (!open && event.key === "ArrowUp" && !this.input.value && this.history.length) {
      this.input.value = this.history.at(-1);
    } else return;
    event.preventDefault();
  }

  async submit() {
    const text = this.input.value.trim();
    this.close();
    if (!text) return;
    this.input.value = "";
    this.history.push(text);
    try {
      await this.send(text);
    } catch (problem) {
      this.say(problem.message, true);
      if (!this.input.value) this.input.value = text;
    }
  }

  say(text, bad = false) {
    this.note.textContent = text;
    this.note.classList.toggle("bad", bad);
  }
}
