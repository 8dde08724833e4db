"""A workspace removes the app: what Slack tells of it, in whatever order, and however the database fares."""

from collections.abc import Mapping
from typing import Any

import pytest

from bot.domain.cards import TeamId
from bot.domain.errors import StoreUnavailable
from bot.workspaces.uninstall import Uninstaller

ACME = TeamId("T0ACME")
BODY: Mapping[str, Any] = {"team_id": ACME, "type": "event_callback"}


class Kept:
    """The installations, and the follows that run for each."""

    def __init__(self) -> None:
        self.installed = {ACME}
        self.running = {ACME}
        self.good: set[TeamId] = set()
        self.down = 0
        self.leaving = Uninstaller(self, self.stop, self.is_still_good)

    async def remove(self, team: TeamId) -> bool:
        if self.down:
            self.down -= 1
            raise StoreUnavailable("down")
        was = team in self.installed
        self.installed.discard(team)
        return was

    async def stop(self, team: TeamId) -> None:
        assert team not in self.installed or self.down, "what is stopped first would be opened again"
        self.running.discard(team)

    async def is_still_good(self, team: TeamId) -> bool:
        return team in self.good


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_who_uninstalls_the_app_has_its_token_forgotten_and_its_follows_stopped(kept: Kept) -> None:
    await kept.leaving.uninstalled(BODY)
    assert (kept.installed, kept.running) == (set(), set())


async def test_a_revoked_token_of_the_bot_is_forgotten(kept: Kept) -> None:
    await kept.leaving.revoked(BODY, {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": ["U0OMNI"]}})
    assert (kept.installed, kept.running) == (set(), set())


@pytest.mark.parametrize("tokens", [{"oauth": ["U0ADA"]}, {"oauth": ["U0ADA"], "bot": []}, {}, None])
async def test_the_revoked_token_of_a_person_changes_nothing(kept: Kept, tokens: object) -> None:
    await kept.leaving.revoked(BODY, {"type": "tokens_revoked", "tokens": tokens})
    assert (kept.installed, kept.running) == ({ACME}, {ACME})


async def test_both_events_in_either_order_do_it_once(kept: Kept) -> None:
    await kept.leaving.revoked(BODY, {"tokens": {"bot": ["U0OMNI"]}})
    await kept.leaving.uninstalled(BODY)
    assert (kept.installed, kept.running) == (set(), set())


async def test_an_event_that_comes_after_a_new_installation_does_not_remove_that(kept: Kept) -> None:
    kept.good = {ACME}
    await kept.leaving.uninstalled(BODY)
    assert (kept.installed, kept.running) == ({ACME}, {ACME})


@pytest.mark.looptime
async def test_it_is_done_when_the_database_is_back(kept: Kept) -> None:
    kept.down = 2
    await kept.leaving.uninstalled(BODY)
    assert (kept.installed, kept.running) == (set(), set())


@pytest.mark.looptime
async def test_follows_stop_even_if_the_database_does_not_come_back(kept: Kept) -> None:
    kept.down = 99
    await kept.leaving.uninstalled(BODY)
    assert kept.running == set()
