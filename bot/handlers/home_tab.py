"""Keeps the Home tabs current of people who have opened theirs.

What they show is read from the table, which every process writes, so it does not matter which of them follows a job.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp

from bot.domain import (
    Authorization,
    Card,
    ChannelId,
    ChannelRef,
    JobId,
    JobState,
    Message,
    MessageTs,
    SlackBusy,
    SlackError,
    StoreUnavailable,
    TeamId,
    UserId,
)
from bot.domain.ports import CardRepository, SlackMessages, SlackViews
from bot.rendering import MOST_FINISHED, MOST_RUNNING, Followed, home_tab
from bot.tasks import RecentKeys, loop_time

log = structlog.get_logger()

BETWEEN_LOOKS_SECONDS = 3.0
"""How often a tab that was opened lately may change."""
OPENED_LATELY_SECONDS = 600.0
BETWEEN_LATER_LOOKS_SECONDS = 30.0
KEPT_SECONDS = 8 * 3_600.0
"""How long after it was opened a tab is kept current. Slack tells when one is opened, never when it is left."""
MOST_KEPT = 200
"""Of how many people at once: those who opened theirs last."""
MOST_LINKS = 2_000


@dataclass(slots=True)
class _Tab:
    """One person's."""

    opened_at: float
    next_look_at: float
    shown: str | None = None
    """The fingerprint of what Slack holds."""


class HomeTabs:
    """Draws a person's tab when they open it, and again when it would look different."""

    def __init__(
        self,
        *,
        cards: CardRepository,
        messages: SlackMessages,
        views: SlackViews,
        authorization: Authorization,
        state_of: Callable[[JobId], JobState | None],
        team: TeamId,
    ) -> None:
        """`state_of`: how a job stands, where this process follows it. `team`: as for the other listeners."""
        self._cards = cards
        self._messages = messages
        self._views = views
        self._authorization = authorization
        self._state_of = state_of
        self._team = team
        self._tabs: RecentKeys[UserId, _Tab] = RecentKeys(MOST_KEPT)
        self._links: RecentKeys[tuple[ChannelRef, MessageTs], str] = RecentKeys(MOST_LINKS)
        self._opened = asyncio.Event()

    def register(self, app: AsyncApp) -> None:
        """The route; `manifest.yml` names the same."""
        app.event("app_home_opened")(self.on_opened)

    async def on_opened(self, body: dict[str, Any]) -> None:
        """Somebody has opened the app's Home or Messages tab."""
        event = body.get("event") or {}
        person = UserId(event.get("user") or "")
        if event.get("tab") != "home" or not person:
            return
        now = loop_time()
        tab = self._tabs.get(person) or _Tab(now, now)
        tab.opened_at = now
        tab.next_look_at = min(tab.next_look_at, now + BETWEEN_LOOKS_SECONDS)
        self._tabs[person] = tab
        self._opened.set()

    async def run(self) -> None:
        """Keep the tabs current until cancelled."""
        while True:
            self._opened.clear()
            for person in [person for person, tab in self._tabs.items() if tab.next_look_at <= loop_time()]:
                if (
                    tab := self._tabs.get(person)
                ) is not None:  # others may have been opened in its place meanwhile
                    await self._look(person, tab)
            await self._wait()

    async def _wait(self) -> None:
        """Until the next tab is due, or somebody opens theirs."""
        due = min((tab.next_look_at for tab in self._tabs.values()), default=None)
        try:
            async with asyncio.timeout_at(due):
                await self._opened.wait()
        except TimeoutError:
            pass

    async def _look(self, user: UserId, tab: _Tab) -> None:
        age = loop_time() - tab.opened_at
        if age > KEPT_SECONDS:
            self._tabs.pop(user, None)
            return
        is_lately = age < OPENED_LATELY_SECONDS
        tab.next_look_at = loop_time() + (BETWEEN_LOOKS_SECONDS if is_lately else BETWEEN_LATER_LOOKS_SECONDS)
        try:
            await self._show(user, tab)
        except SlackBusy as error:
            tab.next_look_at = loop_time() + max(BETWEEN_LOOKS_SECONDS, error.retry_after_seconds)
        except SlackError as error:
            log.warning("home tab not shown", user=user, code=error.code)
            self._tabs.pop(user, None)  # until it is opened again
        except StoreUnavailable as error:
            log.warning("home tab not read", user=user, reason=str(error))
        except Exception:
            # A defect of ours over one tab must not end those of all the others.
            log.exception("home tab broke")
            self._tabs.pop(user, None)

    async def _show(self, user: UserId, tab: _Tab) -> None:
        # A Home tab is nobody else's: the rule on channels is no reason to close it.
        line = await self._authorization.deny_reason(
            user, ChannelRef(self._team, ChannelId("D")), asks_omni=False
        )
        view = await self._view(user) if line is None else home_tab.refused(line)
        fingerprint = Message("", (view,)).fingerprint
        if fingerprint != tab.shown:
            await self._views.publish(user, view)
            tab.shown = fingerprint
        if line is not None:
            # Until it is opened again: to ask once more each time would fill the audit trail.
            self._tabs.pop(user, None)

    async def _view(self, user: UserId) -> dict[str, Any]:
        running = await self._cards.followed_cards(self._team, user)
        finished = await self._cards.ended_cards(self._team, user, MOST_FINISHED)
        return home_tab.home(
            [await self._followed(card) for card in running[:MOST_RUNNING]],
            [await self._followed(card) for card in finished],
            n_running=len(running),
        )

    async def _followed(self, card: Card) -> Followed:
        return Followed(card, self._state_of(card.job), await self._link(card))

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
                log.info("no permalink", watch=card.id, code=error.code)
                return None
        return self._links[key]
