"""Which blocks this workspace's Slack takes: learned from what it refuses, for as long as the process lives.

Without it every edit of a running job's card would be two: one that is refused, and one that is taken.
"""

from bot.domain import Message

DOUBTED = frozenset({"task_card"})
"""Blocks of which no document says whether every Slack shows them in a message that is no stream. All that is
in them is within limits, so where Slack takes the same message without one, it was the block."""


class BlockSupport:
    """What may be drawn with."""

    def __init__(self) -> None:
        self._refused: frozenset[str] = frozenset()

    def supported(self, forms: tuple[Message, ...]) -> tuple[Message, ...]:
        """The forms that Slack may take, in their order. The last one has to do in any case."""
        *richer, last = forms
        return (*(form for form in richer if not _kinds(form) & self._refused), last)

    def record_refusal(self, refused: Message, taken: Message) -> None:
        """Slack took the second form and not the first, which is the next richer one."""
        self._refused |= (_kinds(refused) - _kinds(taken)) & DOUBTED


def _kinds(message: Message) -> frozenset[str]:
    return frozenset(str(block["type"]) for block in message.blocks)
