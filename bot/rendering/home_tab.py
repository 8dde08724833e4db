"""The Home tab: the running jobs a user follows, their last finished ones, and when they are notified."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.domain import Card, JobState, Notify
from bot.rendering.blocks import context, section
from bot.rendering.markdown.mrkdwn import code, duration, moment, one_line

CHOOSE_NOTIFY = "choose_notify"
"""Action id of the menu that says when the user is notified. Its values are those of `Notify`."""
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
_LONGEST_QUESTION = 150


@dataclass(frozen=True, slots=True)
class Followed:
    """A card in the list."""

    card: Card
    state: JobState | None = None
    """None if this process does not track the job."""
    link: str | None = None
    """The card's permalink."""
    question: str = field(default="", repr=False)
    """The beginning of the job's question; empty if this process has not seen it."""


_CHOICES = {Notify.ALWAYS: "Always", Notify.FAILURES: "Failures only", Notify.NEVER: "Never"}


def home(
    running: Sequence[Followed],
    finished: Sequence[Followed],
    *,
    notify: Notify,
    notify_after_seconds: float,
    n_running: int | None = None,
) -> dict[str, Any]:
    """Render a user's Home tab.

    Args:
        running: the running jobs, newest first.
        finished: the finished jobs, the one that ended last first.
        notify: when the user is notified.
        notify_after_seconds: how long an answer must have taken for that.
        n_running: how many running jobs there are, if `running` does not hold all.
    """
    left_out = max(len(running), n_running or 0) - MOST_RUNNING
    blocks = [
        _heading("Running"),
        *[section(_running(followed)) for followed in running[:MOST_RUNNING]],
    ]
    if not running:
        blocks.append(
            section(
                "You aren't following any running jobs. Type `/omni-ask` to ask, or `/omni-job` to follow one."
            )
        )
    elif left_out > 0:
        blocks.append(context(f"and {left_out} more."))
    blocks.append(_heading("Finished"))
    blocks += [section(_finished(followed)) for followed in finished[:MOST_FINISHED]]
    if not finished:
        blocks.append(section("No job that you follow has finished recently."))
    blocks += [_heading("Notifications"), *_notifications(notify, notify_after_seconds)]
    return {"type": "home", "blocks": blocks}


def refused(line: str) -> dict[str, Any]:
    """Render the Home tab of a user who may not use the bot. `line` is mrkdwn."""
    return {"type": "home", "blocks": [section(line)]}


def _notifications(notify: Notify, after_seconds: float) -> list[dict[str, Any]]:
    menu = {
        "type": "static_select",
        "action_id": CHOOSE_NOTIFY,
        "placeholder": {"type": "plain_text", "text": "Notify me", "emoji": False},
        "options": [_option(choice) for choice in Notify],
        "initial_option": _option(notify),
    }
    slow = f" that took longer than {duration(after_seconds)}" if after_seconds else ""
    explained = (
        "When a job that you follow ends, I mention you in its card's thread. *Always*: if it failed, was cancelled "
        f"or was lost, and with an answer{slow}. *Failures only*: not with an answer. "
        "*Never*: the card alone shows the end."
    )
    return [section("Notify me") | {"accessory": menu}, context(explained)]


def _option(choice: Notify) -> dict[str, Any]:
    return {"text": {"type": "plain_text", "text": _CHOICES[choice], "emoji": False}, "value": choice.value}


def _heading(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _running(followed: Followed) -> str:
    state = _STATES.get(followed.state, "▶️ Running") if followed.state else "▶️ Running"
    return _line(followed, state, f"asked {moment(followed.card.requested_at)}")


def _finished(followed: Followed) -> str:
    card = followed.card
    state = _STATES.get(card.outcome, "❓ Ended") if card.outcome else "❓ Ended"
    return _line(followed, state, moment(card.closed_at) if card.closed_at else "")


def _line(followed: Followed, state: str, when: str) -> str:
    channel = followed.card.channel.id
    where = "direct messages" if channel.startswith("D") else f"<#{channel}>"
    card = f"<{followed.link}|card>" if followed.link else ""
    first = " · ".join(filter(None, [f"*{state}*", when]))
    second = " · ".join(filter(None, [code(followed.card.job, _LONGEST_ID), where, card]))
    return "\n".join(filter(None, [one_line(followed.question, _LONGEST_QUESTION), first, second]))
