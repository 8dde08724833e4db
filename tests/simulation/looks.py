"""Reads the state of a card from its text."""

import json
import re

from tests.simulation.slackside import Look

LEFT_ALONE = "unfollowed"
FINAL = ("answered", "failed", "cancelled", "missing")
"""States that show how the job ended."""

_BEGINNINGS = {
    "Answered": "answered",
    "The job failed": "failed",
    "The job was cancelled": "cancelled",
    "Omni does not know this job": "missing",
    "Omni no longer knows this job": "missing",
    "The bot no longer follows this job": LEFT_ALONE,
    "The bot stopped watching": "paused",
}
_MARK = re.compile(r"""mark['"\\]+:\s*[\\'"]+([^'"\\]+)""")
_JOB = re.compile(r"job `([0-9a-f-]{36})`")


def look_of(look: Look) -> str:
    """answered, failed, cancelled, missing, unfollowed, paused, or running."""
    for beginning, name in _BEGINNINGS.items():
        if look.text.startswith(beginning):
            return name
    return "running"


def mark_of(metadata: object) -> str:
    """The mark in a message's metadata, whether decoded or not; empty without one."""
    found = _MARK.search(str(metadata))
    return found.group(1) if found else ""


def is_card(mark: str, text: str) -> bool:
    """Whether a message is a card. The marks of other messages have a third part, except those of completion replies,
    which mention users."""
    return mark.count("/") == 1 and not mark.endswith("/told") and not text.startswith("<@")


def job_of(look: Look) -> str:
    """The id of the card's job; empty if it names none."""
    named = _JOB.search(json.dumps(look.blocks)) or _JOB.search(look.text)
    return named.group(1) if named else ""
