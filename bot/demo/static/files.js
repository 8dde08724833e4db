// Draws the files of a message: pictures as pictures, tables and texts by their beginning.

import { element, icon } from "/dom.js";
import { words } from "/words.js";

const more = (count) => (count > 0 ? element("p", { class: "more" }, `and ${count} more ${count === 1 ? "line" : "lines"}`) : null);

function name(file) {
  const link = element("a", { href: file.url, target: "_blank", rel: "noopener noreferrer" }, file.title);
  const about = file.title === file.name ? file.size : `${file.name} · ${file.size}`;
  return element("div", { class: "file-name" }, icon("file"), element("div", {}, link, element("span", {}, about)));
}

function table(file) {
  const row = (cells, tag) => element("tr", {}, ...cells.map((cell) => element(tag, {}, cell)));
  return element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": `The beginning of ${file.name}` },
    element("table", {}, element("thead", {}, ...file.head.map((cells) => row(cells, "th"))), element("tbody", {}, ...file.rows.map((cells) => row(cells, "td")))));
}

export function fileCard(file, context) {
  switch (file.kind) {
    case "image":
      return element("figure", { class: "file picture" }, name(file),
        element("a", { href: file.url, target: "_blank", rel: "noopener noreferrer" },
          element("img", { src: file.url, alt: file.alt, width: file.width, height: file.height })));
    case "deleted": return element("div", { class: "file" }, element("em", {}, file.title));
    case "table": return element("div", { class: "file words" }, name(file), table(file), more(file.more));
    case "text": return element("div", { class: "file words" }, name(file), element("div", { class: "beginning words", tabindex: 0, role: "group", "aria-label": `The beginning of ${file.name}` }, ...words(file.text, context)), more(file.more));
    default: return element("div", { class: "file" }, name(file));
  }
}
