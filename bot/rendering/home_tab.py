"""The Home tab: what a person follows now, and what they followed last and how it ended. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain import Card, JobState
from bot.rendering.blocks import context, section
from bot.rendering.markdown.mrkdwn import code, moment

MOST_RUNNING = 25
MOST_FINISHED = 20

_STATES = {
    JobState.QUEUED: "⏳ Queued",
    JobState.EXECUTING: "⚙️ Working",
    JobState.DELIVERING: "📬 Delivering",
    JobState.COMPLETE: "✅ Answered",
    JobState.FAILED: "❌ Failed",
    JobState.CANCELLED: "🚫 Cancelled",
}
_LONGEST_ID = 60


@dataclass(frozen=True, slots=True)
class Followed:
    """One follow, as far as it is listed."""

    watch: Card
    state: JobState | None = None
    """None where this process does not know it."""
    link: str | None = None
    """The card's address in Slack."""


def home(
    running: Sequence[Followed], finished: Sequence[Followed], *, n_running: int | None = None
) -> dict[str, Any]:
    """A person's Home tab.

    Args:
        running: what they follow now, newest first.
        finished: what they followed to its end, that which ended last first.
        n_running: how many they follow, where `running` does not hold them all.
    """
    left_out = max(len(running), n_running or 0) - MOST_RUNNING
    blocks = [
        _heading("Running"),
        *[section(_running(followed)) for followed in running[:MOST_RUNNING]],
    ]
    if not running:
        blocks.append(
            section("You follow no running job. Type `/omni-ask` to ask, or `/omni-job` to follow one.")
        )
    elif left_out > 0:
        blocks.append(context(f"and {left_out} more."))
    blocks.append(_heading("Finished"))
    blocks += [section(_finished(followed)) for followed in finished[:MOST_FINISHED]]
    if not finished:
        blocks.append(section("Nothing that you followed has ended yet, or not lately."))
    return {"type": "home", "blocks": blocks}


def refused(line: str) -> dict[str, Any]:
    """The Home tab of somebody who may not use the bot. `line` is mrkdwn."""
    return {"type": "home", "blocks": [section(line)]}


def _heading(words: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": words, "emoji": False}}


def _running(followed: Followed) -> str:
    state = _STATES.get(followed.state, "▶️ Running") if followed.state else "▶️ Running"
    return _line(followed, state, f"asked {moment(followed.watch.requested_at)}")


def _finished(followed: Followed) -> str:
    card = followed.watch
    state = _STATES.get(card.outcome, "❓ Ended") if card.outcome else "❓ Ended"
    return _line(followed, state, moment(card.closed_at) if card.closed_at else "")


def _line(followed: Followed, state: str, when: str) -> str:
    channel = followed.watch.channel.id
    where = "direct messages" if channel.startswith("D") else f"<#{channel}>"
    card = f"<{followed.link}|card>" if followed.link else ""
    first = " · ".join(filter(None, [f"*{state}*", when]))
    second = " · ".join(filter(None, [code(followed.watch.job, _LONGEST_ID), where, card]))
    return f"{first}\n{second}"
