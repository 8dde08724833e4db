"""Fallbacks after a refusal: plainer variants of a message, blocks that Slack accepts, and the pause before a retry."""

import asyncio
from collections import Counter
from functools import cached_property

import structlog

from bot.domain import Message, OutcomeUnknown, SlackError
from bot.tasks import backoff_seconds

log = structlog.get_logger()

SEVERAL_TABLES = "several tables"
REFUSALS_TO_LEARN = {"plan": 1, "task_card": 1, "context_actions": 1, SEVERAL_TABLES: 1, "table": 3}
"""The features without which a refused message may be accepted, and how many such messages in a row teach that Slack
does not take the feature here. Slack documents plans and task cards for streamed messages only, and its pages
contradict each other about several tables. It documents tables, so one refusal may be about the content of one."""
INTERNAL_ERRORS_BEFORE_FALLBACK = 3
"""After so many internal errors of Slack the variant itself may be the cause."""
LONGEST_BACKOFF_SECONDS = 60.0


class BlockSupport:
    """Features that this workspace's Slack refuses, learned for the lifetime of the process.

    Without it every edit of a running job's card would be two: one that is refused, and one that is accepted.
    """

    def __init__(self) -> None:
        self._refusals: Counter[str] = Counter()
        """How many messages in a row were refused with each feature and accepted without it."""

    def supported(self, variants: tuple[Message, ...]) -> tuple[Message, ...]:
        """The variants that Slack may accept, in their order; always the last one."""
        *richer, last = variants
        refused = {
            feature for feature, times in self._refusals.items() if times >= REFUSALS_TO_LEARN[feature]
        }
        return (*(message for message in richer if not _features(message) & refused), last)

    def record_refusal(self, refused: Message, taken: Message) -> None:
        """Learn from a variant that was refused while the next plainer one was accepted."""
        self._refusals.update((_features(refused) - _features(taken)) & REFUSALS_TO_LEARN.keys())

    def record_acceptance(self, taken: Message) -> None:
        """Learn from an accepted message that its features are accepted."""
        for feature in _features(taken):
            self._refusals.pop(feature, None)


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
        block_support.record_acceptance(self.current)


async def back_off(error: SlackError, failures: int) -> int:
    """Pause before a retry, longer after each failure in a row. Returns the new number of failures."""
    seconds = backoff_seconds(failures, longest=LONGEST_BACKOFF_SECONDS)
    log.warning("slack did not answer", code=error.code, again_in_seconds=seconds)
    await asyncio.sleep(seconds)
    return failures + 1
