// Draws a person's Home tab of the app.

import { block } from "/blocks.js";
import { element } from "/dom.js";

// `view` is null where the app has put nothing there; `trouble` is what went wrong when it was opened, if anything.
export function drawHome(place, view, context, trouble) {
  const note = trouble ? element("p", { class: "trouble", role: "alert" }, trouble) : null;
  if (!view) {
    place.replaceChildren(note || element("div", { class: "empty" }, element("b", {}, "Nothing here yet"), "The app fills this tab when you open it."));
    return;
  }
  const top = place.scrollTop;
  const sheet = element("div", { class: "sheet" }, note, ...view.blocks.map((each) => block(each, context)));
  place.replaceChildren(sheet);
  place.scrollTop = top;
}
