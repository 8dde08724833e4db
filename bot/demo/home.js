// Draws a person's Home tab of the app.

import { block } from "/blocks.js";
import { element } from "/dom.js";

// `view` is null where the app has put nothing there. `press(button, from)` presses a button of it.
export function drawHome(place, view, context) {
  if (!view) {
    place.replaceChildren(element("div", { class: "empty" }, element("b", {}, "Nothing here yet"), "The app fills this tab when you open it."));
    return;
  }
  const top = place.scrollTop;
  const sheet = element("div", { class: "sheet" }, ...view.blocks.map((each) => block(each, context)));
  place.replaceChildren(sheet);
  place.scrollTop = top;
}
