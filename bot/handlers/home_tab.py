"""Keeps the Home tabs current of people who have opened theirs.

What they show is read from the table, which every process writes, so it does not matter which of them follows a job.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp

from bot.domain.access import Access
from bot.domain.cards import ChannelId, Place, TeamId, Ts, UserId, Watch
from bot.domain.errors import BoardBusy, BoardError, StoreUnavailable
from bot.domain.jobs import JobId, JobState
from bot.domain.messages import Message
from bot.domain.ports.slack import Board, Views
from bot.domain.ports.storage import Watches
from bot.rendering import home_tab
from bot.rendering.home_tab import MOST_FINISHED, MOST_RUNNING, Followed

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
        watches: Watches,
        board: Board,
        views: Views,
        access: Access,
        state_of: Callable[[JobId], JobState | None],
        team: TeamId,
    ) -> None:
        """`state_of`: how a job stands, where this process follows it. `team`: as for the other listeners."""
        self._watches = watches
        self._board = board
        self._views = views
        self._access = access
        self._state_of = state_of
        self._team = team
        self._tabs: dict[UserId, _Tab] = {}
        self._links: dict[tuple[Place, Ts], str] = {}
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
        now = _loop_time()
        known = self._tabs.pop(person, None)
        tab = known or _Tab(now, now)
        tab.opened_at = now
        tab.next_look_at = min(tab.next_look_at, now + BETWEEN_LOOKS_SECONDS)
        self._tabs[person] = tab
        if len(self._tabs) > MOST_KEPT:
            del self._tabs[next(iter(self._tabs))]
        self._opened.set()

    async def run(self) -> None:
        """Keep the tabs current until cancelled."""
        while True:
            self._opened.clear()
            for person in [person for person, tab in self._tabs.items() if tab.next_look_at <= _loop_time()]:
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

    async def _look(self, person: UserId, tab: _Tab) -> None:
        age = _loop_time() - tab.opened_at
        if age > KEPT_SECONDS:
            self._tabs.pop(person, None)
            return
        is_lately = age < OPENED_LATELY_SECONDS
        tab.next_look_at = _loop_time() + (
            BETWEEN_LOOKS_SECONDS if is_lately else BETWEEN_LATER_LOOKS_SECONDS
        )
        try:
            await self._show(person, tab)
        except BoardBusy as error:
            tab.next_look_at = _loop_time() + max(BETWEEN_LOOKS_SECONDS, error.retry_after_seconds)
        except BoardError as error:
            log.warning("home tab not shown", user=person, code=error.code)
            self._tabs.pop(person, None)  # until it is opened again
        except StoreUnavailable as error:
            log.warning("home tab not read", user=person, reason=str(error))
        except Exception:
            # A defect of ours over one tab must not end those of all the others.
            log.exception("home tab broke")
            self._tabs.pop(person, None)

    async def _show(self, person: UserId, tab: _Tab) -> None:
        # A Home tab is nobody else's: the rule on channels is no reason to close it.
        line = await self._access.refusal(person, Place(self._team, ChannelId("D")), asks_omni=False)
        view = await self._view(person) if line is None else home_tab.refused(line)
        fingerprint = Message("", (view,)).fingerprint
        if fingerprint != tab.shown:
            await self._views.publish(person, view)
            tab.shown = fingerprint
        if line is not None:
            # Until it is opened again: to ask once more each time would fill the audit trail.
            self._tabs.pop(person, None)

    async def _view(self, person: UserId) -> dict[str, Any]:
        running = await self._watches.open_watches_of(self._team, person)
        finished = await self._watches.ended_watches_of(self._team, person, MOST_FINISHED)
        return home_tab.home(
            [await self._followed(watch) for watch in running[:MOST_RUNNING]],
            [await self._followed(watch) for watch in finished],
            n_running=len(running),
        )

    async def _followed(self, watch: Watch) -> Followed:
        return Followed(watch, self._state_of(watch.job), await self._link(watch))

    async def _link(self, watch: Watch) -> str | None:
        if watch.card is None or watch.card_gone:
            return None
        key = (watch.place, watch.card)
        if key not in self._links:
            try:
                self._links[key] = await self._board.permalink(*key)
            except BoardBusy:
                raise
            except BoardError as error:
                log.info("no permalink", watch=watch.id, code=error.code)
                return None
            if len(self._links) > MOST_LINKS:
                del self._links[next(iter(self._links))]
        return self._links[key]


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
