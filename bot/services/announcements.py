"""Announces jobs: a program names a job and a channel over HTTP, and the job gets its card there.

The program may do what an admin may do with a command, so ALLOWED_CHANNELS does not restrict it. Its card never goes to
direct messages instead of a shared channel or one without the bot: the program gets the reason.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import uuid4

import structlog

from bot.delivery import CardOutcomes
from bot.domain import (
    API_CLIENT,
    AccessPolicy,
    Announced,
    Announcement,
    AnnouncementProblem,
    AnnouncementRefused,
    Card,
    CardFailure,
    CardId,
    ChannelRef,
    ConversationInfo,
    JobId,
    NotAllowedHere,
    Refusal,
    ScopeMissing,
    SlackError,
    SlackUser,
    StoreUnavailable,
    UserId,
)
from bot.domain.ports import CardRepository, FailedCardRepository, SlackDirectory
from bot.log import Act, audit, bind_job
from bot.services.authorization import KNOWN_FOR_SECONDS
from bot.services.lookups import Lookups

log = structlog.get_logger()

CHANNEL_KNOWN_FOR_SECONDS = 5.0
"""How long Slack's answer about a channel counts. Short, so that a retry after `/invite` succeeds."""
LOOKED_UP_WITHIN_SECONDS = 10.0
"""How long Slack may take to describe the channel and those mentioned."""
POSTED_WITHIN_SECONDS = 10.0
"""How long a program waits to learn that there is no such job, or that the card can't be posted. After that, the card
is accepted: it is stored, and posted as soon as possible."""

_NO_MEMBER = (AnnouncementProblem.BOT_NOT_IN_CHANNEL, "The bot is not in this channel: invite it.")
_ARCHIVED = (AnnouncementProblem.CHANNEL_ARCHIVED, "The channel is archived.")
_FAILURES = {
    CardFailure.NO_SUCH_JOB: (AnnouncementProblem.UNKNOWN_JOB, "Omni has no such job."),
    CardFailure.KEY_REFUSED: (AnnouncementProblem.UNAVAILABLE, "Omni refuses the bot's key."),
    CardFailure.UNCONFIRMED: (
        AnnouncementProblem.UNCONFIRMED,
        "Slack has not confirmed the card. It may be in the channel, and will not be updated.",
    ),
}


class AnnouncementService:
    """Use case: follow a job in a channel, without a user who asks for it."""

    def __init__(
        self,
        *,
        policy: AccessPolicy,
        directory: SlackDirectory,
        people: Lookups[UserId, SlackUser],
        cards: CardRepository,
        failed_cards: FailedCardRepository,
        outcomes: CardOutcomes,
        start: Callable[[JobId], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        """`people`: the directory's users, cached. `start` makes sure that a job is tracked."""
        self._policy = policy
        self._channels: Lookups[ChannelRef, ConversationInfo] = Lookups(directory.conversation)
        self._people = people
        self._people_by_email: Lookups[str, SlackUser] = Lookups(directory.user_by_email)
        self._cards = cards
        self._failed_cards = failed_cards
        self._outcomes = outcomes
        self._start = start
        self._now = now

    async def announce(self, announcement: Announcement) -> Announced:
        """Follow the job in the channel, or add those mentioned to the card that it has there.

        When this returns, the card is stored, so it is posted even if this process dies. A repeated or
        simultaneous announcement returns the same card.

        Raises:
            AnnouncementRefused: nothing is stored, or UNAVAILABLE: the same announcement may be repeated.
        """
        bind_job(announcement.job)
        try:
            announced = await self._announce(announcement)
        except (SlackError, TimeoutError) as error:
            log.warning("announcement not checked", reason=str(error) or "slack is slow")
            refused = AnnouncementRefused(AnnouncementProblem.UNAVAILABLE, "Slack isn't responding.")
        except StoreUnavailable as error:
            log.error("announcement not stored", reason=str(error))
            refused = AnnouncementRefused(AnnouncementProblem.UNAVAILABLE, "The bot can't store anything.")
        except AnnouncementRefused as error:
            refused = error
        else:
            self._audit(announcement, "announced" if announced.is_new else "announced again")
            return announced
        self._audit(announcement, f"refused: {refused.problem.value}")
        raise refused

    async def _announce(self, announcement: Announcement) -> Announced:
        async with asyncio.timeout(LOOKED_UP_WITHIN_SECONDS):
            await self._check_channel(announcement.channel)
            mentioned, not_mentioned = await self._mentioned(announcement.mentions)
        followers = (API_CLIENT, *mentioned)
        card = Card(
            CardId(str(uuid4())),
            announcement.job,
            announcement.channel,
            requester=API_CLIENT,
            followers=followers,
            requested_at=self._now(),
            thread=announcement.thread,
        )
        stored = await self._cards.add(card)
        log.info("announced", card=stored.id, channel=stored.channel.id)
        if (failure := await self._failure(stored)) is not None:
            for follower in followers:
                await self._failed_cards.mark_reported(stored.id, follower)
            raise _refusal(*failure)
        return Announced(stored.id, is_new=stored.id == card.id, not_mentioned=not_mentioned)

    async def _check_channel(self, channel: ChannelRef) -> None:
        """Check that the card may be posted there. Raises AnnouncementRefused, and SlackError."""
        allows_shared = self._policy.allow_shared_channels
        try:
            info = await self._channels.get(channel, known_for_seconds=CHANNEL_KNOWN_FOR_SECONDS)
        except ScopeMissing:
            if allows_shared:
                return
            raise AnnouncementRefused(
                AnnouncementProblem.CHANNEL_SHARED,
                "The bot can't find out whether this channel is shared with another organization.",
            ) from None
        except NotAllowedHere:
            raise AnnouncementRefused(
                AnnouncementProblem.UNKNOWN_CHANNEL,
                "There is no such channel, or it is private and the bot is not a member.",
            ) from None
        if info.is_archived:
            raise AnnouncementRefused(*_ARCHIVED)
        if not info.has_bot:
            raise AnnouncementRefused(*_NO_MEMBER)
        if info.is_shared and not allows_shared:
            raise AnnouncementRefused(
                AnnouncementProblem.CHANNEL_SHARED,
                "The channel is shared with another organization, so the bot posts no answers there.",
            )

    async def _mentioned(self, mentions: Sequence[str]) -> tuple[Sequence[UserId], Sequence[str]]:
        """Return the users to mention, and why others can't be. Raises SlackError.

        A pipeline that mentions the committer must not lose its announcements when that user leaves.
        """
        found: dict[UserId, None] = {}
        left_out = []
        for mention in dict.fromkeys(mentions):
            is_email = "@" in mention
            try:
                if is_email:
                    person = await self._people_by_email.get(
                        mention.lower(), known_for_seconds=KNOWN_FOR_SECONDS
                    )
                else:
                    person = await self._people.get(UserId(mention), known_for_seconds=KNOWN_FOR_SECONDS)
            except ScopeMissing:
                scope = "users:read.email" if is_email else "users:read"
                left_out.append(f"{mention}: the Slack app has no scope {scope}")
            except NotAllowedHere:
                left_out.append(f"{mention}: no such user")
            else:
                if self._policy.is_open_to(person):
                    found[person.id] = None
                else:
                    left_out.append(f"{mention}: may not use the bot")
        return tuple(found), tuple(left_out)

    async def _failure(self, card: Card) -> tuple[CardFailure, str] | None:
        """Track the job and return why it has no card, and Slack's error code; None: it has one, or will. Raises
        StoreUnavailable."""
        with self._outcomes.subscribe(card.id) as outcome:
            await self._start(card.job)
            there = await self._cards.get(card.id)
            if there is not None and there.message_ts is None and there.failure is None:
                try:
                    async with asyncio.timeout(POSTED_WITHIN_SECONDS):
                        came = await outcome
                    return (came.result, came.code) if isinstance(came.result, CardFailure) else None
                except TimeoutError:
                    there = await self._cards.get(card.id)
        return (there.failure, "") if there is not None and there.failure else None

    def _audit(self, announcement: Announcement, outcome: str) -> None:
        audit(Act.ANNOUNCE, API_CLIENT, announcement.channel, outcome, job=announcement.job)


def _refusal(failure: CardFailure, code: str) -> AnnouncementRefused:
    match failure, Refusal.of(code):
        case CardFailure.NOWHERE, Refusal.NOT_A_MEMBER:
            return AnnouncementRefused(*_NO_MEMBER)
        case CardFailure.NOWHERE, Refusal.ARCHIVED:
            return AnnouncementRefused(*_ARCHIVED)
        case CardFailure.NOWHERE, _:
            why = f" ({code})" if code else ""
            return AnnouncementRefused(
                AnnouncementProblem.POST_REFUSED, f"Slack refused the card in this channel{why}."
            )
        case _:
            return AnnouncementRefused(*_FAILURES[failure])
