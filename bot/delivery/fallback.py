"""Fallbacks after a refusal: plainer variants of a message, blocks that Slack accepts, and the pause before a retry."""

import asyncio
from functools import cached_property

import structlog

from bot.domain import Message, OutcomeUnknown, SlackError
from bot.tasks import backoff_seconds

log = structlog.get_logger()

SEVERAL_TABLES = "several tables"
UNCERTAIN_FEATURES = frozenset({"plan", "task_card", SEVERAL_TABLES})
"""What Slack documents for streamed messages only, and what its pages contradict each other about. If Slack accepts the
same message without one, it refused that."""
INTERNAL_ERRORS_BEFORE_FALLBACK = 3
"""After so many internal errors of Slack the variant itself may be the cause."""
LONGEST_BACKOFF_SECONDS = 60.0


class BlockSupport:
    """What this workspace's Slack refuses, learned as long as the process lives.

    Without it every edit of a running job's card would be two: one that is refused, and one that is accepted.
    """

    def __init__(self) -> None:
        self._refused: frozenset[str] = frozenset()

    def supported(self, variants: tuple[Message, ...]) -> tuple[Message, ...]:
        """The variants that Slack may accept, in their order; always the last one."""
        *richer, last = variants
        return (*(message for message in richer if not _features(message) & self._refused), last)

    def record_refusal(self, refused: Message, taken: Message) -> None:
        """Learn from a variant that was refused while the next plainer one was accepted."""
        self._refused |= (_features(refused) - _features(taken)) & UNCERTAIN_FEATURES


def _features(message: Message) -> frozenset[str]:
    types = [str(block["type"]) for block in message.blocks]
    return frozenset([*types, *[SEVERAL_TABLES] * (types.count("table") > 1)])


class Variants:
    """The variants of one message, from the richest to the plainest, and which one to send."""

    def __init__(self, messages: tuple[Message, ...]) -> None:
        self._messages = messages
        self._position = 0
        self._internal_errors = 0

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """One for each variant: a message that shows any of them is up to date."""
        return tuple(message.fingerprint for message in self._messages)

    @property
    def current(self) -> Message:
        """The variant to send."""
        return self._messages[self._position]

    def try_next(self) -> bool:
        """Continue with the next plainer variant. False if there is none."""
        if self._position + 1 == len(self._messages):
            return False
        self._position += 1
        return True

    def record_unknown(self, error: OutcomeUnknown) -> None:
        """Continue with the next variant after some internal errors of Slack."""
        self._internal_errors += error.may_be_the_content
        if self._internal_errors == INTERNAL_ERRORS_BEFORE_FALLBACK:
            self._internal_errors = 0
            self.try_next()

    def record_accepted(self, block_support: BlockSupport) -> None:
        """Learn from Slack accepting the current variant."""
        if self._position:
            block_support.record_refusal(self._messages[self._position - 1], self.current)


async def back_off(error: SlackError, failures: int) -> int:
    """Pause before a retry, longer after each failure in a row. Returns the new number of failures."""
    seconds = backoff_seconds(failures, longest=LONGEST_BACKOFF_SECONDS)
    log.warning("slack did not answer", code=error.code, again_in_seconds=seconds)
    await asyncio.sleep(seconds)
    return failures + 1
