// Draws a person's Home tab of the app.

import { block } from "/blocks.js";
import { element } from "/dom.js";
import { control } from "/inputs.js";

// The app hears of each choice at once.
function form(view, context) {
  return {
    context,
    get: ([block_id, action_id]) => view.values[block_id]?.[action_id],
    set: ([, action_id], value, told) => { if (told && value) context.enter(action_id, value); },
  };
}

function labelled(input, made) {
  made.setAttribute("aria-label", input.placeholder || "Choose");
  return made;
}

// `view` is null where the app has put nothing there; `trouble` is what went wrong when it was opened, if anything.
export function drawHome(place, view, context, trouble) {
  const note = trouble ? element("p", { class: "trouble", role: "alert" }, trouble) : null;
  if (!view) {
    place.replaceChildren(note || element("div", { class: "empty" }, element("b", {}, "Nothing here yet"), "The app fills this tab when you open it."));
    return;
  }
  const top = place.scrollTop;
  const drawn = view.blocks.map((each) => block(each, { ...context, control: (input) => labelled(input, control(input, [each.block_id, input.action_id], form(view, context))) }));
  const sheet = element("div", { class: "sheet" }, note, ...drawn);
  place.replaceChildren(sheet);
  place.scrollTop = top;
}
