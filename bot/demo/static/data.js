// Draws tables that page and sort, and charts.

import { element } from "/dom.js";
import { words } from "/words.js";

const compare = (one, other) => (typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other)));

// A table as Slack draws a `data_table`: a page at a time, sorted by the column whose head is pressed.
class DataTable {
  constructor(view, context) {
    this.view = view;
    this.context = context;
    this.rows = view.rows;
    this.page = 0;
    this.pages = Math.ceil(view.rows.length / view.page_size);
    this.sorted = { column: -1, down: false };
    this.head = element("tr", {}, ...view.head.map((cell, column) => this.headCell(cell, column)));
    this.body = element("tbody");
    const table = element("table", {}, element("caption", {}, view.caption), element("thead", {}, this.head), this.body);
    this.node = element("div", { class: "data-table words" },
      element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": view.caption }, table));
    if (this.pages > 1) this.node.append(this.pager());
    this.draw();
  }

  headCell(cell, column) {
    const made = element("button", { type: "button", class: "sort" }, ...words(cell.text, this.context));
    made.addEventListener("click", () => this.sort(column));
    return element("th", { scope: "col", class: this.isNumeric(column) ? "right" : null }, made);
  }

  isNumeric(column) { return this.view.rows.every((row) => typeof row[column].key === "number"); }

  pager() {
    this.count = element("span", { role: "status" });
    const step = (label, by) => {
      const made = element("button", { type: "button", class: "button" }, label);
      made.addEventListener("click", () => { this.page += by; this.draw(); });
      return made;
    };
    this.back = step("Back", -1);
    this.next = step("Next", 1);
    return element("div", { class: "pager" }, this.count, this.back, this.next);
  }

  sort(column) {
    const down = this.sorted.column === column && !this.sorted.down;
    this.sorted = { column, down };
    this.rows = [...this.view.rows].sort((one, other) => compare(one[column].key, other[column].key) * (down ? -1 : 1));
    this.page = 0;
    this.draw();
  }

  draw() {
    const { page_size: size, row_header: header } = this.view;
    const from = this.page * size;
    const shown = this.rows.slice(from, from + size);
    const cell = (each, column) => element(column === header ? "th" : "td",
      { scope: column === header ? "row" : null, class: this.isNumeric(column) ? "right" : null }, ...words(each.text, this.context));
    const rows = shown.map((row) => element("tr", {}, ...row.map(cell)));
    // The last page is as tall as the others, so that nothing below it moves.
    while (this.pages > 1 && rows.length < size) rows.push(element("tr", { class: "filler", "aria-hidden": "true" }, element("td", { colspan: this.view.head.length }, "\u00a0")));
    this.body.replaceChildren(...rows);
    [...this.head.children].forEach((each, column) => {
      each.setAttribute("aria-sort", column !== this.sorted.column ? "none" : this.sorted.down ? "descending" : "ascending");
    });
    if (this.pages < 2) return;
    this.count.textContent = `${from + 1}–${from + shown.length} of ${this.rows.length}`;
    this.back.disabled = this.page === 0;
    this.next.disabled = this.page === this.pages - 1;
  }
}

export function dataTable(view, context) { return new DataTable(view, context).node; }

// Any chart as bars with their numbers; Slack draws lines, areas and pies as such.
export function chart(view) {
  const values = view.series.flatMap((one) => one.values).filter((value) => value !== null);
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const number = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 2 });
  const many = view.series.length > 1;
  const rows = view.labels.flatMap((label, at) => view.series.map((one, index) => {
    const value = one.values[at];
    const bar = element("i", { class: `bar tone-${index % 6}` });
    const span = (high - low) || 1;
    bar.style.marginLeft = `${(100 * (Math.min(0, value) - low)) / span}%`;
    bar.style.width = `${(100 * Math.abs(value)) / span}%`;
    return element("tr", { class: many && index === 0 ? "first" : null },
      index === 0 ? element("th", { scope: "rowgroup", rowspan: view.series.length }, label) : null,
      many ? element("td", { class: "series" }, one.name) : null,
      element("td", { class: "bars" }, bar), element("td", { class: "right" }, value === null ? "–" : number.format(value)));
  }));
  const axes = [view.x_label, view.y_label].filter(Boolean).join(" · ");
  return element("figure", { class: "chart" },
    element("figcaption", {}, element("b", {}, view.title), axes ? element("span", {}, axes) : null),
    element("table", { "aria-label": view.title }, element("tbody", {}, ...rows)),
    view.kind === "bar" ? null : element("p", { class: "small" }, `Slack draws this as a ${view.kind} chart.`));
}
