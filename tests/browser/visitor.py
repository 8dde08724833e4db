"""A visitor of the demo page in Chromium."""

import json

from bot.demo.scene import Scene
from tests.browser.chromium import Tab

NARROW, WIDE, TALL = 360, 1_440, 900

FAINT = """
(() => {
  const parts = (color) => {
    const drawn = new OffscreenCanvas(1, 1).getContext("2d");
    drawn.fillStyle = color;
    drawn.fillRect(0, 0, 1, 1);
    return [...drawn.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * (255 - top[3])) / 255);
  const ground = (node) => {
    if (!node) return [255, 255, 255];
    const own = parts(getComputedStyle(node).backgroundColor);
    return own[3] === 255 ? own.slice(0, 3) : over(own, ground(node.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest(":disabled, [hidden], .away, .filler, script, style")) continue;
    if (!node.checkVisibility({ visibilityProperty: true })) continue;
    const below = ground(node);
    const [one, other] = [light(over(parts(getComputedStyle(node).color), below)), light(below)].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${node.className}: ${walker.currentNode.data.slice(0, 40)}`);
  }
  return [...new Set(faint)];
})()
"""
"""The texts whose contrast is below 4.5, which is level AA. Source: www.w3.org/TR/WCAG21, 1.4.3."""

CARDS = "[...document.querySelectorAll('#messages .message[data-by-bot=true]')]"

SAID = f"{CARDS}.map((card) => card.innerText).join('\\n')"


class Visitor:
    """Somebody at the page."""

    def __init__(self, scene: Scene, tab: Tab) -> None:
        self.scene = scene
        self.tab = tab

    async def types(self, text: str) -> None:
        await self.tab.click("#command")
        await self.tab.type(text)
        await self.tab.press("Enter")

    async def sees(self, words: str, *, within: str = SAID) -> None:
        await self.tab.until(f"({within}).includes({json.dumps(words)})")

    async def cards(self) -> list[str]:
        """The ts of every card in the channel."""
        found: list[str] = await self.tab.get(f"{CARDS}.map((card) => card.dataset.ts)")
        return found
