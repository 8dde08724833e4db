"""Keeps the Home tabs that users have opened up to date.

Their content is read from the database, so it does not matter which process tracks a job.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.domain import (
    Authorization,
    Card,
    ChannelId,
    ChannelRef,
    JobId,
    JobState,
    Message,
    MessageTs,
    Notify,
    Refused,
    SlackBusy,
    SlackError,
    StoreUnavailable,
    TeamId,
    UserId,
)
from bot.domain.ports import CardRepository, PreferenceRepository, SlackMessages, SlackViews
from bot.handlers.background import InteractionRunner
from bot.rendering import CHOOSE_NOTIFY, MOST_FINISHED, MOST_RUNNING, Followed, home_tab, replies
from bot.services import Response, SavedRequest
from bot.slack import trigger_of, user_of
from bot.tasks import RecentKeys, loop_time

log = structlog.get_logger()

REFRESH_SECONDS = 3.0
"""How often a recently opened tab is refreshed."""
RECENTLY_OPENED_SECONDS = 600.0
REFRESH_OLD_SECONDS = 30.0
KEPT_SECONDS = 8 * 3_600.0
"""How long a tab is refreshed after it was opened. Slack sends an event when one is opened, none when it is left."""
MOST_KEPT = 200
"""How many tabs are refreshed: those opened last."""
MOST_LINKS = 2_000


@dataclass(slots=True)
class _Tab:
    """An open Home tab of one user."""

    opened_at: float
    refresh_at: float
    shown: str | None = None
    """Fingerprint of the view that Slack shows."""


class HomeTabs:
    """Publishes a user's Home tab when they open it, and again when its content changes. Stores their choices there."""

    def __init__(
        self,
        *,
        cards: CardRepository,
        preferences: PreferenceRepository,
        messages: SlackMessages,
        views: SlackViews,
        authorization: Authorization,
        interactions: InteractionRunner,
        state_of: Callable[[JobId], JobState | None],
        question_of: Callable[[Card], str],
        now: Callable[[], datetime],
        team: TeamId,
        notify_after_seconds: float,
    ) -> None:
        """`state_of`: state of a job that this process tracks. `question_of`: as for `FollowService`. `team`: the app's
        workspace. `notify_after_seconds`: how long an answer must have taken for a notification."""
        self._cards = cards
        self._preferences = preferences
        self._interactions = interactions
        self._now = now
        self._notify_after_seconds = notify_after_seconds
        self._messages = messages
        self._views = views
        self._authorization = authorization
        self._state_of = state_of
        self._question_of = question_of
        self._team = team
        # Only its user sees a Home tab, so ALLOWED_CHANNELS does not apply to it.
        self._home = ChannelRef(team, ChannelId("D"))
        self._tabs: RecentKeys[UserId, _Tab] = RecentKeys(MOST_KEPT)
        self._links: RecentKeys[tuple[ChannelRef, MessageTs], str] = RecentKeys(MOST_LINKS)
        self._opened = asyncio.Event()

    def register(self, app: AsyncApp) -> None:
        """Register the listeners. `manifest.yml` lists the same."""
        app.event("app_home_opened")(self.on_opened)
        app.action(CHOOSE_NOTIFY)(self.on_notify_chosen)

    async def on_opened(self, body: dict[str, Any]) -> None:
        """Handle that a user opened the app's Home or Messages tab."""
        event = body.get("event") or {}
        person = UserId(event.get("user") or "")
        if event.get("tab") != "home" or not person:
            return
        now = loop_time()
        tab = self._tabs.get(person) or _Tab(now, now)
        tab.opened_at = now
        tab.refresh_at = min(tab.refresh_at, now + REFRESH_SECONDS)
        self._tabs[person] = tab
        self._opened.set()

    async def on_notify_chosen(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle the choice when to be notified. Acknowledged once it is stored."""
        (action, *_) = body.get("actions") or [{}]
        chosen = str((action.get("selected_option") or {}).get("value") or "")
        user, trigger = user_of(body), trigger_of(body)
        reply = self._interactions.ephemeral_reply(ChannelRef(self._team, ChannelId("")), user)
        await self._interactions.ack_when_saved(ack, trigger, self._choose(user, chosen), reply)

    async def _choose(self, user: UserId, chosen: str) -> SavedRequest | Response:
        """Store the choice. Returns the reply if that is not possible."""
        try:
            await self._authorization.check(user, self._home, asks_omni=False)
            if chosen in set(Notify):
                await self._preferences.set_notify(user, Notify(chosen), self._now())
        except Refused as error:
            return error.reply
        except StoreUnavailable as error:
            log.error("choice not stored", user=user, reason=str(error))
            return replies.storage_down()
        if (tab := self._tabs.get(user)) is not None:
            tab.refresh_at = loop_time()
            self._opened.set()
        return SavedRequest(_no_reply)

    async def run(self) -> None:
        """Refresh the tabs until cancelled."""
        while True:
            self._opened.clear()
            for person in [person for person, tab in self._tabs.items() if tab.refresh_at <= loop_time()]:
                if (
                    tab := self._tabs.get(person)
                ) is not None:  # others may have been opened in its place meanwhile
                    await self._refresh(person, tab)
            await self._wait()

    async def _wait(self) -> None:
        """Wait until a tab is due or a user opens one."""
        due = min((tab.refresh_at for tab in self._tabs.values()), default=None)
        try:
            async with asyncio.timeout_at(due):
                await self._opened.wait()
        except TimeoutError:
            pass

    async def _refresh(self, user: UserId, tab: _Tab) -> None:
        age = loop_time() - tab.opened_at
        if age > KEPT_SECONDS:
            self._tabs.pop(user, None)
            return
        is_recent = age < RECENTLY_OPENED_SECONDS
        tab.refresh_at = loop_time() + (REFRESH_SECONDS if is_recent else REFRESH_OLD_SECONDS)
        try:
            await self._show(user, tab)
        except SlackBusy as error:
            tab.refresh_at = loop_time() + max(REFRESH_SECONDS, error.retry_after_seconds)
        except SlackError as error:
            log.warning("home tab not shown", user=user, code=error.code)
            self._tabs.pop(user, None)  # until it is opened again
        except StoreUnavailable as error:
            log.warning("home tab not read", user=user, reason=str(error))
        except Exception:
            # A defect over one tab must not stop the others.
            log.exception("home tab broke")
            self._tabs.pop(user, None)

    async def _show(self, user: UserId, tab: _Tab) -> None:
        is_refused = False
        try:
            await self._authorization.check(user, self._home, asks_omni=False)
            view = await self._view(user)
        except Refused as error:
            is_refused, view = True, home_tab.refused(error.reply)
        fingerprint = Message("", (view,)).fingerprint
        if fingerprint != tab.shown:
            await self._views.publish(user, view)
            tab.shown = fingerprint
        if is_refused:
            # Until it is opened again: checking each time would fill the audit trail.
            self._tabs.pop(user, None)

    async def _view(self, user: UserId) -> dict[str, Any]:
        running = await self._cards.followed_cards(self._team, user)
        finished = await self._cards.ended_cards(self._team, user, MOST_FINISHED)
        return home_tab.home(
            [await self._followed(card) for card in running[:MOST_RUNNING]],
            [await self._followed(card) for card in finished],
            notify=(await self._preferences.notify([user]))[user],
            notify_after_seconds=self._notify_after_seconds,
            n_running=len(running),
        )

    async def _followed(self, card: Card) -> Followed:
        state, question = self._state_of(card.job), self._question_of(card)
        return Followed(card, state, await self._link(card), question)

    async def _link(self, card: Card) -> str | None:
        if card.message_ts is None or card.is_message_gone:
            return None
        key = (card.channel, card.message_ts)
        if key not in self._links:
            try:
                self._links[key] = await self._messages.permalink(*key)
            except SlackBusy:
                raise
            except SlackError as error:
                log.info("no permalink", card=card.id, code=error.code)
                return None
        return self._links[key]


async def _no_reply() -> Response:
    """Return no reply: the tab shows the choice."""
    return None
