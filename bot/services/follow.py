"""What a person can ask of the bot, and the private line it answers. Says nothing of how Slack delivers it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import zip_longest
from uuid import uuid4

import structlog

from bot.delivery.direct_messages import Word
from bot.delivery.outcomes import ARRIVES_WITHIN_SECONDS, LAST_WORD_WITHIN_SECONDS, Arrival, Arrivals, Arrived
from bot.domain.access import Access
from bot.domain.cards import NoCard, Place, TeamId, Ts, UserId, Watch, WatchId
from bot.domain.errors import (
    BoardBusy,
    BoardError,
    BoardUnreachable,
    MessageGone,
    NotAllowedHere,
    NotAReference,
    OmniError,
    ScopeMissing,
    StoreUnavailable,
    TooManyFollows,
    Unanswered,
)
from bot.domain.jobs import Conversation, JobId, parse_reference
from bot.domain.messages import Message
from bot.domain.ports.omni import Omni
from bot.domain.ports.slack import Board
from bot.domain.ports.storage import Asks, GivenUps, Watches
from bot.domain.questions import Ask, ask_id
from bot.log import Act, audit, bind_job
from bot.rendering import replies
from bot.services.authorization import OMNI_ANSWERS_WITHIN_SECONDS, not_shown
from bot.services.intents import Intents
from bot.services.targets import Destination, Destinations, pressed_card, split_private

log = structlog.get_logger()


class _Refused(Exception):
    """Nothing is followed; `line` says why."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class Desk:
    """Takes requests from people. Every method returns what to tell them privately, and raises nothing that a
    person or the world around can cause."""

    def __init__(
        self,
        *,
        omni: Omni,
        board: Board,
        watches: Watches,
        asks: Asks,
        intents: Intents,
        given_ups: GivenUps,
        arrivals: Arrivals,
        access: Access,
        start: Callable[[JobId], Awaitable[None]],
        now: Callable[[], datetime],
        bot_user: UserId,
    ) -> None:
        """`start` sees that a job is followed."""
        self._omni = omni
        self._board = board
        self._watches = watches
        self._asks = asks
        self._intents = intents
        self._given_ups = given_ups
        self._arrivals = arrivals
        self._access = access
        self._destinations = Destinations(board, access, bot_user)
        self._start = start
        self._now = now
        self._bot_user = bot_user

    async def follow(
        self,
        text: str,
        place: Place,
        person: UserId,
        stored: Callable[[], None] = lambda: None,
        *,
        delivery: str = "",
    ) -> Message | Word | str | None:
        """Follow the job that the text names, in this place, or in direct messages where it is none. None where the
        card speaks for itself.

        `stored` is called once a crash can no longer make the request forgotten. `delivery`: as of a `Wish`.
        """
        named, private = split_private(text)
        try:
            reference = parse_reference(named)
        except NotAReference as error:
            return replies.usage(str(error))
        now = self._now()
        follow = f"chat/{reference.id}" if isinstance(reference, Conversation) else reference
        ask = Ask(ask_id(place, delivery), place, person, now, now, follow=follow)
        prepare = partial(self._looked_up, reference, ask, private=private)
        try:
            return await self._intents.see_through(ask, prepare, partial(self._follow_job, ask), stored)
        except TooManyFollows as error:
            return _too_many(error, person)
        except StoreUnavailable as error:
            log.error("follow not stored", reason=str(error))
            return replies.storage_down()

    async def _looked_up(
        self, reference: JobId | Conversation, ask: Ask, *, private: bool
    ) -> tuple[JobId, Destination] | Message:
        """What to follow, and where; or why that can't be."""
        try:
            async with asyncio.timeout(OMNI_ANSWERS_WITHIN_SECONDS):
                return await self._look_up(reference, ask, private=private)
        except _Refused as error:
            return Message(error.line)
        except OmniError as error:
            return Message(replies.not_looked_up(error))
        except BoardError as error:
            return Message(self._destinations.not_had(error))
        except TimeoutError:
            return Message(replies.omni_busy())
        except StoreUnavailable as error:
            return self._not_stored(error)

    async def _look_up(
        self, reference: JobId | Conversation, ask: Ask, *, private: bool
    ) -> tuple[JobId, Destination]:
        """Raises _Refused, OmniError, BoardError, and StoreUnavailable."""
        person = ask.user
        place = await self._destinations.resolve(ask.place, person)
        if (line := await self._refusal(person, place)) is not None:
            raise _Refused(line)
        job = await self._job(reference)
        if job is None:
            # Whose an empty chat is nobody can tell: it reads like one that is not there.
            raise _Refused(
                replies.no_such_job() if self._access.looks_at_jobs else replies.chat_without_job()
            )
        bind_job(job)
        if (line := await not_shown(self._access, self._omni, person, job)) is not None:
            raise _Refused(line)
        return job, await self._destination(place, person, private=private)

    @staticmethod
    def _not_stored(error: StoreUnavailable) -> Message:
        log.error("follow not stored", reason=str(error))
        return Message(replies.storage_down())

    async def stop_following(self, watch: WatchId, place: Place, card: Ts, person: UserId) -> str:
        """Take a person off a watch. The watch, named by a button, must be the one of that card."""
        try:
            known = await pressed_card(self._watches, watch, place, card)
            if known is None or known.closed_at is not None:
                return replies.not_following()
            bind_job(known.job)
            left = await self._watches.unfollow(watch, person)
        except StoreUnavailable as error:
            log.error("unfollow not stored", reason=str(error))
            return replies.storage_down()
        if left is None:
            return replies.not_following()
        log.info("unfollowed", watch=watch, user=person, left=left)
        await self._start(known.job)
        return replies.unfollowed(left)

    async def resume(self, watch: WatchId, place: Place, card: Ts, person: UserId) -> str:
        """Go on with a watch that was given up. The watch, named by a button, must be the one of that card."""
        try:
            known = await pressed_card(self._watches, watch, place, card)
            if known is None:
                return replies.not_resumable()
            bind_job(known.job)
            if known.ended:
                return replies.already_followed(None, has_ended=True)
            if (line := await not_shown(self._access, self._omni, person, known.job)) is not None:
                return line
            await self._watches.resume(watch, person, self._now())
        except TooManyFollows as error:
            return _too_many(error, person)
        except StoreUnavailable as error:
            log.error("resuming not stored", reason=str(error))
            return replies.storage_down()
        log.info("resumed", watch=watch, user=person)
        await self._start(known.job)
        return replies.resumed()

    async def follows(self, team: TeamId, person: UserId) -> str:
        """What the person follows now, with links to the cards."""
        try:
            followed = await self._watches.open_watches_of(team, person)
        except StoreUnavailable as error:
            log.error("follows not read", reason=str(error))
            return replies.storage_down()
        links = await asyncio.gather(*(self._link(watch) for watch in followed[: replies.MOST_LISTED]))
        return replies.follows(list(zip_longest(followed, links)))

    async def _job(self, reference: JobId | Conversation) -> JobId | None:
        if isinstance(reference, Conversation):
            return await self._omni.newest_job(reference)
        return reference

    async def _refusal(self, person: UserId, place: Place) -> str | None:
        """Why the person may follow nothing here, or nothing more."""
        if (line := await self._access.refusal(person, place)) is not None:
            return line
        return await self._access.over_limit(person, place.team, asking=False)

    async def _destination(self, place: Place, person: UserId, *, private: bool) -> Destination:
        """Where the card goes. A request that Slack has no time for is not lost, unless it was to be private: it is
        stored for its own place, and whoever posts the card moves it."""
        try:
            return await self._destinations.choose(place, person, private=private)
        except (BoardBusy, BoardUnreachable, Unanswered):
            if private:
                raise
            return Destination(place)

    async def _follow_job(self, ask: Ask, found: tuple[JobId, Destination]) -> Word | str | None:
        try:
            return await self._bind_and_start(ask, *found)
        except StoreUnavailable as error:
            return self._intents.withdrawn(ask, self._not_stored(error))

    async def _bind_and_start(self, ask: Ask, job: JobId, destination: Destination) -> Word | str | None:
        person = ask.user
        mine = Watch(WatchId(str(uuid4())), job, destination.place, person, (person,), self._now())
        # Expected before it is stored: whoever follows the job already may be faster than we are.
        with self._arrivals.waiting(mine.id) as arrival:
            watch = await self._asks.bind(ask.id, mine)
            asked_in = ask.place if ask.place.channel else destination.place
            audit(Act.FOLLOW, person, asked_in, "followed", job=job)
            log.info("followed", watch=watch.id, job=job, user=person, channel=destination.place.channel)
            if watch.id == mine.id:
                await self._start(job)
                return await self.tell_new(mine, arrival, destination)
        with self._arrivals.waiting(watch.id) as arrival:
            line = await self._already_there(watch.id)
            await self._start(job)
            return line or await self._tell_arrival(replace(mine, id=watch.id), arrival, is_first=False)

    async def tell_new(
        self, mine: Watch, arrival: asyncio.Future[Arrival], destination: Destination
    ) -> Word | str | None:
        """What to tell the person of a new watch: where its card is, or why there is none; None where they see for
        themselves. Raises StoreUnavailable."""
        line = await self._tell_arrival(mine, arrival, is_first=True)
        if line is not None or destination.say is None:
            return line
        there = await self._watches.get(mine.id)
        return destination.say(await self._link(there) if there else None)

    async def _already_there(self, watch: WatchId) -> str | None:
        """The line that leads to a card that was posted before; None where it is still to be posted."""
        while True:
            there = await self._watches.get(watch)
            if there is None or there.card is None:
                return None
            # The reply of a job that is lost is on its way, or there: it names nobody more.
            is_over = there.ended or there.notice_tried_at is not None
            try:
                if not there.card_gone:
                    link = await self._board.permalink(there.place, there.card)
                    return replies.already_followed(link, has_ended=is_over)
            except MessageGone:
                pass
            except BoardError as error:
                log.warning("no permalink", watch=watch, code=error.code)
                return replies.already_followed(None, has_ended=is_over)
            # Somebody deleted the card. It is posted anew, unless that has been seen to already.
            await self._watches.start_over(watch, there.card)

    async def _tell_arrival(
        self, mine: Watch, arrival: asyncio.Future[Arrival], *, is_first: bool
    ) -> Word | str | None:
        """What to tell the person of `mine`, which may have become somebody else's watch."""
        try:
            async with asyncio.timeout(ARRIVES_WITHIN_SECONDS):
                came = await asyncio.shield(arrival)
        except TimeoutError:
            # What another process has to tell may have been lost on the way; the table has not.
            there = await self._watches.get(mine.id)
            if there is not None and there.card is not None:
                came = Arrived.POSTED
            elif there is not None and there.given_up is not None:
                came = there.given_up
            elif there is None or self._arrivals.is_counted_on(mine.id):
                came = await self._last_word(arrival)
            else:
                return replies.card_is_late()
        if isinstance(came, NoCard):
            return Word(Message(self._why(came, mine)), partial(self._told, mine))
        if came is Arrived.POSTED:
            return None if is_first else await self._already_there(mine.id)
        if not await self._has_direct_messages(mine):
            return replies.not_allowed_anywhere(self._bot_user)
        if came is Arrived.KEPT:
            return replies.kept_private(None, self._bot_user)
        return replies.moved_to_dm(None, self._bot_user)

    async def _last_word(self, arrival: asyncio.Future[Arrival]) -> Arrival:
        """Why the watch is gone, or about to go: whoever removes it says so right after."""
        try:
            async with asyncio.timeout(LAST_WORD_WITHIN_SECONDS):
                return await asyncio.shield(arrival)
        except TimeoutError:
            return NoCard.UNCONFIRMED

    async def _has_direct_messages(self, mine: Watch) -> bool:
        """Whether the card that was moved can be in this person's direct messages: others' may be open only."""
        try:
            await self._board.direct(mine.place, mine.requester)
        except (NotAllowedHere, ScopeMissing):
            return False
        except BoardError as error:
            log.warning("no direct message", user=mine.requester, code=error.code)
        return True

    def _why(self, no_card: NoCard, mine: Watch) -> str:
        match no_card:
            case NoCard.NOWHERE:
                return replies.not_allowed_anywhere(self._bot_user)
            case NoCard.NO_SUCH_JOB:
                return replies.no_such_job()
            case NoCard.KEY_REFUSED:
                return replies.key_refused()
            case NoCard.UNCONFIRMED:
                return replies.unconfirmed_card(mine.job if mine.is_own else None)

    async def _told(self, mine: Watch) -> None:
        try:
            await self._given_ups.told(mine.id, mine.requester)
        except StoreUnavailable as error:
            # Then they are told once more, in direct messages.
            log.warning("telling not stored", watch=mine.id, reason=str(error))

    async def _link(self, watch: Watch) -> str | None:
        if watch.card is None or watch.card_gone:
            return None
        try:
            return await self._board.permalink(watch.place, watch.card)
        except BoardError as error:
            log.warning("no permalink", watch=watch.id, code=error.code)
            return None


def _too_many(error: TooManyFollows, person: UserId) -> str:
    audit(Act.FOLLOW, person, None, "refused: too many open follows")
    return replies.too_many_follows(error.most)
