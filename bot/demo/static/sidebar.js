// Draws the side of the page: whom one is, and where one can go; and the list of samples.

import { avatar } from "/channel.js";
import { element, icon } from "/dom.js";

const $ = (id) => document.getElementById(id);

export const sign = (channel) => ({ public: "hash", private: "lock", direct: "bot" })[channel.kind];

export function about(channel) {
  if (channel.kind === "direct") return "Your direct message with the bot";
  const shared = channel.is_shared ? "Shared with another company. " : "";
  if (channel.gets_feedback) return "The bot posts each 👍 and 👎 here";
  if (channel.is_link_only) return "The bot shows only links to Omni here, no questions, answers or data";
  if (channel.has_bot) return `${shared}The bot is a member here`;
  return `${shared}The bot is not a member here: cards go to your direct message`;
}

function channelItem(channel, world, go) {
  const unread = world.unread.get(`${world.me} ${channel.id}`) || 0;
  const made = element("button", { class: `channel${unread ? " unread" : ""}`, type: "button", "aria-current": String(channel.id === world.place) },
    icon(sign(channel)), element("b", {}, channel.name),
    unread ? element("span", { class: "count", "aria-label": `${unread} new` }, unread) : null,
    channel.is_shared ? element("span", { class: "without" }, "shared") : null,
    channel.is_link_only ? element("span", { class: "without" }, "links only") : null,
    channel.has_bot ? null : element("span", { class: "without" }, "no bot"));
  made.addEventListener("click", () => go(channel.id));
  return element("li", {}, made);
}

export function drawChannels(world, go) {
  const visible = world.channels.filter((channel) => channel.members.includes(world.me));
  const items = (channels) => channels.map((channel) => channelItem(channel, world, go));
  const focused = document.activeElement?.classList.contains("channel") ? document.activeElement.textContent : null;
  $("channels").replaceChildren(...items(visible.filter((channel) => channel.kind !== "direct")));
  $("directs").replaceChildren(...items(visible.filter((channel) => channel.kind === "direct")));
  if (focused) [...document.querySelectorAll(".channel")].find((made) => made.textContent === focused)?.focus();
}

export function drawPeople(world, become) {
  const choices = world.people.map((person, hue) => {
    const input = element("input", { type: "radio", name: "me", value: person.id, checked: person.id === world.me });
    input.addEventListener("change", () => become(person.id));
    return element("label", { title: person.note ? `${person.name}, ${person.note}` : person.name }, input, avatar({ name: person.name, hue }), person.name.split(" ")[0]);
  });
  const note = world.people.find((person) => person.id === world.me)?.note;
  $("people").replaceChildren($("people").querySelector("legend"), ...choices);
  $("who").textContent = note ? `You are ${note}.` : "";
}

function drawGroup(list, samples, start) {
  list.replaceChildren(...samples.map((sample) => {
    const made = element("button", { class: "sample", type: "button", "data-sample": sample.key },
      element("b", {}, sample.title), element("span", {}, sample.hint));
    made.addEventListener("click", () => start(sample.key));
    return element("li", {}, made);
  }));
}

export function drawSamples(world, start) {
  for (const group of ["course", "answer"]) {
    drawGroup($(`samples-${group}`), world.samples.filter((sample) => sample.group === group), start);
  }
}

// What the app has in Slack's own menu of shortcuts.
export function drawShortcuts(world, choose) {
  const items = world.shortcuts.filter((each) => each.kind === "global").map((each) => {
    const made = element("button", { type: "button", role: "menuitem", "data-shortcut": each.callback_id }, icon("bolt"), each.name);
    made.addEventListener("click", () => choose(each.callback_id));
    return element("li", { role: "none" }, made);
  });
  $("shortcuts").replaceChildren(...items);
}
