"""Planted faults that the simulation must catch. Each is a small patch of the running code."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from inspect import Parameter, signature
from typing import Any
from unittest.mock import patch

from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import Connection, and_, update

from bot.delivery.posts import COMPLETION_REPLY, MessagePoster, PendingPost
from bot.delivery.updates import MessageUpdater, _PendingUpdate
from bot.domain import jobs
from bot.domain.cards import Card, CardFailure, CardId, MessageTs
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from bot.domain.questions import PendingQuestion
from bot.handlers.background import InteractionRunner
from bot.omni import http
from bot.ratelimit import JITTER_SECONDS, WINDOW_SECONDS, Rate
from bot.services.lookups import Lookups
from bot.storage import cards, questions, undelivered
from bot.storage.card_rows import add_card, load_cards, of_job_in_channel
from bot.storage.cards import SqlCardRepository
from bot.storage.questions import SqlQuestionRepository
from bot.storage.tables import cards as cards_table
from bot.storage.transactions import transactional
from bot.storage.undelivered import SqlFailedCardRepository
from bot.tracking.tracker import JobTracker
from bot.workspaces import workspace


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and what it is."""

    sentence: str
    plant: Callable[[], None]


FAULTS: dict[str, Fault] = {}


def plant(name: str) -> None:
    """Plant a fault in this process, for as long as it lives."""
    FAULTS[name].plant()


def _fault(sentence: str) -> Callable[[Callable[[], None]], None]:
    def add(plant: Callable[[], None]) -> None:
        FAULTS[plant.__name__.strip("_").replace("_", "-")] = Fault(sentence, plant)

    return add


def _replace(owner: object, name: str, new: object) -> None:
    _make_sure_it_fits(getattr(owner, name), new)
    patch.object(owner, name, new).start()


def _make_sure_it_fits(old: object, new: object) -> None:
    """A patch that can't be called as the bot calls it would be caught, but not for what it is. Raises TypeError."""
    if not callable(old) or not callable(new):
        return
    wanted, given = _parameters(old), _parameters(new)
    takes_all = any(each.kind is Parameter.VAR_POSITIONAL for each in given.values())
    if not takes_all and _names(given) != _names(wanted):
        raise TypeError(f"{new} does not take what {old} takes: plant it anew")


def _parameters(function: Callable[..., object]) -> dict[str, Parameter]:
    """Those that a caller gives. `transactional` adds the connection."""
    parameters = dict(signature(function).parameters)
    if hasattr(function, "__wrapped__"):
        parameters.pop("connection", None)
    return parameters


def _names(parameters: Mapping[str, Parameter]) -> list[str]:
    """Those that are given by their names are called so exactly."""
    by_name = Parameter.KEYWORD_ONLY
    return [name if each.kind is by_name else name.lstrip("_") for name, each in parameters.items()]


@_fault("the end of a chore does not wake its follow")
def _lost_wake_up() -> None:
    def start(self: JobTracker, tracked: Any, card: Card, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._run_card_task(card, step), name=f"tend {card.id}")
        tracked.card_tasks[card.id] = task
        task.add_done_callback(lambda _: tracked.card_tasks.pop(card.id, None))

    _replace(JobTracker, "_start_card_task", start)


@_fault("a budget lets one request too many through in a window")
def _off_by_one_in_the_budget() -> None:
    def within(cls: type[Rate], limit: int, *, burst: int) -> Rate:
        burst = max(1, min(burst, limit // 8))
        interval = (WINDOW_SECONDS + JITTER_SECONDS) / (limit - burst + 2)
        return cls(interval, (burst - 1) * interval)

    _replace(Rate, "within", classmethod(within))


@_fault("a card may be edited while an edit of it is under way")
def _no_guard_of_edits_under_way() -> None:
    def next_due(self: MessageUpdater) -> _PendingUpdate | None:
        now = asyncio.get_running_loop().time()
        due = (card for card in self._updates.values() if card.wanted and card.due_at <= now)
        card = min(due, key=lambda card: (card.final is None, card.due_at), default=None)
        if card is not None:
            card.not_before = now + 0.1
        return card

    async def wait(self: MessageUpdater) -> None:
        while not any(
            card.wanted and card.due_at <= asyncio.get_running_loop().time()
            for card in self._updates.values()
        ):
            await asyncio.sleep(0.05)

    _replace(MessageUpdater, "_next_due", next_due)
    _replace(MessageUpdater, "_wait_until_due", wait)


@_fault("the intent to post is stored after the post")
def _intent_after_the_post() -> None:
    _post_before_the_intent(lambda _: True)


@_fault("the intent of a reply in which an answer goes on is stored after it is posted")
def _reply_intent_after_the_post() -> None:
    _post_before_the_intent(lambda post: post.kind not in (None, COMPLETION_REPLY))


def _post_before_the_intent(is_meant: Callable[[PendingPost], bool]) -> None:
    real_started, real_posted = MessagePoster._mark_started, MessagePoster._mark_posted

    async def mark_started(self: MessagePoster, post: PendingPost, at: datetime, *, is_sent: bool) -> None:
        if not (is_sent and is_meant(post)):
            await real_started(self, post, at, is_sent=is_sent)

    async def mark_posted(
        self: MessagePoster, post: PendingPost, started_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        if is_meant(post):
            await real_started(self, post, started_at, is_sent=True)
        return await real_posted(self, post, started_at, ts, fingerprint)

    _replace(MessagePoster, "_mark_started", mark_started)
    _replace(MessagePoster, "_mark_posted", mark_posted)


@_fault("the ts of a card is not stored")
def _ts_not_stored() -> None:
    async def mark_posted(*_: object, **__: object) -> bool:
        return True

    _replace(SqlCardRepository, "mark_posted", mark_posted)


@_fault("a write of a follow does not ask whether the claim still holds")
def _unchecked_claim() -> None:
    def write(
        _self: SqlCardRepository, connection: Connection, card: Card, *only_if: Any, **columns: object
    ) -> bool:
        this = and_(cards_table.c.id == card.id, *only_if)
        return connection.execute(update(cards_table).where(this).values(**columns)).rowcount > 0

    def lock(_self: SqlCardRepository, connection: Connection, card: Card) -> Card:
        return next(iter(load_cards(connection, cards_table.c.id == card.id)), card)

    @transactional
    def open_cards(_self: SqlCardRepository, connection: Connection, job: Any, _token: object) -> Any:
        mine = cards_table.c.job == job, cards_table.c.closed_at.is_(None)
        return load_cards(connection, and_(*mine))

    @transactional
    def newest(_self: SqlCardRepository, connection: Connection, card: Card) -> Card | None:
        return next(iter(load_cards(connection, cards_table.c.id == card.id)), None)

    _replace(SqlCardRepository, "_update_owned", write)
    _replace(SqlCardRepository, "_lock_owned", lock)
    _replace(SqlCardRepository, "open_cards", open_cards)
    _replace(SqlCardRepository, "reload", newest)
    for module in (cards, undelivered):
        _replace(module, "require_ownership", lambda _connection, _card, _team: None)


@_fault("a look is not stored as unknown before it is drawn")
def _look_not_marked_unknown() -> None:
    real = SqlCardRepository.mark_shown

    async def mark_shown(
        self: SqlCardRepository,
        card: Card,
        message_ts: MessageTs,
        fingerprint: str | None,
        *,
        outcome: JobState | None = None,
    ) -> bool:
        if fingerprint is None:
            return True
        return await real(self, card, message_ts, fingerprint, outcome=outcome)

    _replace(SqlCardRepository, "mark_shown", mark_shown)


@_fault("a final edit that failed is not tried again")
def _final_edit_not_repeated() -> None:
    real = MessageUpdater._back_off

    def back_off(self: MessageUpdater, update: _PendingUpdate, code: str) -> None:
        if update.final is not None:
            update.wanted = None
        real(self, update, code)

    _replace(MessageUpdater, "_back_off", back_off)


@_fault("a delivery that Slack makes twice is served twice")
def _no_memory_of_deliveries() -> None:
    _replace(InteractionRunner, "_is_duplicate", lambda *_: False)


@_fault("one 404 ends a follow")
def _one_404_is_final() -> None:
    _replace(jobs, "LOST_AFTER_ANSWERS", 1)
    _replace(jobs, "LOST_AFTER_SECONDS", 0.0)


@_fault("nobody takes up what is open after a start")
def _no_sweep() -> None:
    async def sweep(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    _replace(workspace, "sweep", sweep)


@_fault("the SDK repeats a request whose connection broke")
def _sdk_repeats() -> None:
    def slack_client(
        token: str, base_url: str, session: Any, _metrics: Any, *, team: str | None = None
    ) -> AsyncWebClient:
        return AsyncWebClient(token=token, base_url=base_url, session=session, team_id=team)

    _replace(workspace, "slack_client", slack_client)


@_fault("a post that was not answered is taken for one that never arrived")
def _no_look_for_posts() -> None:
    async def search(*_: object) -> None:
        return None

    _replace(MessagePoster, "_search", search)


@_fault("a follow that came to nothing is forgotten before its person was told")
def _forgotten_before_told() -> None:
    real = SqlFailedCardRepository.add

    async def add(self: SqlFailedCardRepository, card: Card, why: CardFailure, at: datetime) -> None:
        await real(self, card, why, at)
        for follower in card.followers:
            await self.mark_reported(card.id, follower)

    _replace(SqlFailedCardRepository, "add", add)


@_fault("a late edit of a process that was replaced is left as it is")
def _late_edit_left() -> None:
    async def mark_stale(
        _self: SqlCardRepository,
        _card_id: CardId,
        _message_ts: MessageTs,
        *,
        is_end: bool = False,
    ) -> None:
        pass

    _replace(SqlCardRepository, "mark_stale", mark_stale)


@_fault("a replaced process does not store that its card shows the end")
def _end_not_stored() -> None:
    def end_shown(
        _self: SqlCardRepository,
        _connection: Connection,
        _card: Card,
        _message_ts: MessageTs,
        _fingerprint: str,
    ) -> bool:
        return False

    _replace(SqlCardRepository, "_end_shown", end_shown)


@_fault("a card that may show its chart is not drawn without it before the chart goes to the thread")
def _chart_left_on_card() -> None:
    real = MessageUpdater.show_final

    async def show_final(
        self: MessageUpdater,
        card: Card,
        ts: MessageTs,
        messages: tuple[Message, ...],
        *,
        outcome: JobState | None = None,
        is_optional: bool = False,
    ) -> bool:
        is_open = not is_optional and card.ended and card.shown_fingerprint is None
        if is_open:
            return True
        return await real(self, card, ts, messages, outcome=outcome, is_optional=is_optional)

    _replace(MessageUpdater, "show_final", show_final)


@_fault("a second person who follows a job takes it over")
def _taken_over() -> None:
    def add(connection: Connection, card: Card) -> None:
        add_card(connection, card)
        theirs = {"requester": card.requester, "requested_at": card.requested_at}
        connection.execute(
            update(cards_table).where(of_job_in_channel(card.job, card.channel)).values(theirs)
        )

    # Commands bind their cards to the stored requests; a card that is moved is added by the other module.
    for module in (questions, cards):
        _replace(module, "add_card", add)


@_fault("a card that is asked for in a thread is posted outside")
def _thread_forgotten() -> None:
    def add(connection: Connection, card: Card) -> None:
        add_card(connection, replace(card, thread=None))

    _replace(questions, "add_card", add)


@_fault("a 404 of a gateway counts as Omni's")
def _gateway_is_omni() -> None:
    def is_omnis_error(_status: int, body: bytes) -> bool:
        return body.lstrip().startswith(b"{")

    _replace(http, "is_omnis_error", is_omnis_error)


@_fault("a 429 of a look-up counts as an answer")
def _busy_is_an_answer() -> None:
    async def ask_once(self: Lookups[Any, Any], key: Any) -> Any:
        return await self._ask(key)

    _replace(Lookups, "_ask_until_answered", ask_once)


@_fault("nobody tells of the questions of a process that is gone")
def _orphans_not_told() -> None:
    async def interrupted(_self: SqlQuestionRepository, _before: datetime) -> list[PendingQuestion]:
        return []

    _replace(SqlQuestionRepository, "interrupted", interrupted)
