// The live numbers, the switches that show them, and the banner that tells what is wrong with the bot.

import { element } from "/dom.js";

const $ = (id) => document.getElementById(id);
const BOT_WORDS = { starting: "starting", running: "running", killed: "killed", died: "stopped by itself", stopped: "stopped" };

export function drawGauges(pulse, actions) {
  const meter = (id, count, limit) => {
    $(`${id}-count`).textContent = `${count} of ${limit}`;
    $(`${id}-meter`).classList.toggle("high", count > limit * 0.8);
    $(`${id}-meter`).firstElementChild.style.width = `${Math.min(100, (100 * count) / limit)}%`;
  };
  meter("omni", pulse.omni_requests, pulse.omni_limit);
  meter("update", pulse.updates, pulse.updates_limit);
  $("bot-state").textContent = BOT_WORDS[pulse.bot] + (pulse.pid ? `, process ${pulse.pid}` : "");
  $("bot-dot").className = `dot ${pulse.bot}`;
  $("kill").disabled = !pulse.pid;
  $("start").disabled = Boolean(pulse.pid);
  for (const [name, value] of [["omni", pulse.omni_trouble], ["slack", pulse.slack_trouble]]) {
    const input = document.querySelector(`input[name="${name}"][value="${value}"]`);
    if (!input.checked) input.checked = true;
  }
  drawBanner(pulse, actions);
}

export function drawBanner(pulse, { startAgain }) {
  const said = {
    died: `The bot stopped by itself (exit code ${pulse.exit_code}). ${pulse.last_line}`,
    killed: "The bot is killed. Jobs go on in Omni; start it again and it takes up every open card.",
    lost: "The demo does not answer any more. Start it again with: python -m bot demo",
  }[pulse.bot];
  if ($("banner").dataset.said === (said || "")) return;
  $("banner").dataset.said = said || "";
  $("banner").hidden = !said;
  const again = element("button", { class: "button", type: "button" }, "Start it again");
  again.addEventListener("click", startAgain);
  $("banner").replaceChildren(element("p", {}, said || ""), ...(pulse.bot === "lost" ? [] : [again]));
}
