"""What the demo's page offers: whom to be, where to go, what to type and to choose."""

from dataclasses import dataclass
from typing import Any, Literal

COMMAND = "/omni-job"
ASK = "/omni-ask"
OFFERS: tuple[dict[str, Any], ...] = (
    {"text": f"{COMMAND} ", "shown": f"{COMMAND} <job id or chat address>", "about": "Follow a job here"},
    {"text": f"{COMMAND} list", "about": "The jobs you follow that still run"},
    {"text": f"{COMMAND} help", "about": "What the bot can do"},
    {"text": f"{ASK} ", "shown": f"{ASK} <question>", "about": "Ask Omni"},
    {"text": ASK, "about": "A form to ask with: model, topic, private or here"},
    {"text": "@omni ", "shown": "@omni <question>", "about": "Ask Omni, or go on in a thread"},
)
"""What the composer offers to complete. One that ends in a space goes on."""
CHANNELS = ("data-team", "sales", "leadership", "random", "partners")
PEOPLE = {
    "ada": "",
    "grace": "",
    "linus": "unknown in Omni",
    "marie": "a guest of the workspace",
    "edsger": "of another company",
}
"""Whom a visitor can be, and what is special about them."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """An entry that the app has in Slack's menus, as its manifest says."""

    kind: Literal["message", "global"]
    callback_id: str
    name: str


SHORTCUTS = (
    Shortcut("message", "follow_message", "Follow Omni job"),
    Shortcut("global", "ask_anywhere", "Ask Omni"),
    Shortcut("global", "follow_any", "Follow an Omni job"),
)
