// A menu that a button opens: closed by Escape, by a choice, and by pressing elsewhere.

export class Menu {
  constructor(button, list) {
    this.button = button;
    this.list = list;
    button.addEventListener("click", () => this.open(list.hidden));
    document.addEventListener("click", (event) => { if (!list.contains(event.target) && !button.contains(event.target)) this.open(false); });
    list.addEventListener("keydown", (event) => this.key(event));
  }

  open(yes) {
    this.list.hidden = !yes;
    this.button.setAttribute("aria-expanded", String(yes));
    if (yes) this.list.querySelector("button")?.focus();
  }

  key(event) {
    const items = [...this.list.querySelectorAll("button")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") { this.open(false); this.button.focus(); }
    else if (step) items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
    else return;
    event.preventDefault();
  }
}
