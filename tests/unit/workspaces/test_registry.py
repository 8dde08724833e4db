"""Those workspaces run that their source knows, each once, with what is known of it now; one's trouble is its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bot.domain.cards import TeamId, UserId
from bot.domain.credentials import Credentials
from bot.domain.errors import StoreUnavailable
from bot.tasks import end
from bot.workspaces.registry import COUNT_SECONDS, FRESH_SECONDS, REFRESH_SECONDS, Workspaces
from bot.workspaces.workspace import Workspace

pytestmark = pytest.mark.looptime

ACME, OTHER = TeamId("T0ACME"), TeamId("T0OTHER")


def credentials(team: TeamId, key: str = "key") -> Credentials:
    return Credentials(
        team=team,
        bot_user=UserId("U0BOT"),
        bot_id="B0BOT",
        bot_token=f"xoxb-{team}",
        omni_base_url="https://acme.omniapp.co",
        omni_api_token=key,
        requests_per_minute=60,
    )


@dataclass(eq=False)
class World:
    """The source, and what is built of what it knows."""

    known: list[Credentials] = field(default_factory=list)
    error: Exception | None = None
    looks: int = 0
    takes_seconds: float = 0.0
    """How long the source takes to answer."""
    ends_in_seconds: float = 0.0
    """How long a workspace takes to end what it does."""
    breaks: dict[TeamId, Exception] = field(default_factory=dict)
    """What comes over a workspace as soon as it runs, once."""
    said: list[tuple[str, TeamId]] = field(default_factory=list)

    async def list(self) -> Sequence[Credentials]:
        self.looks += 1
        await asyncio.sleep(self.takes_seconds)
        if self.error is not None:
            raise self.error
        return list(self.known)

    @asynccontextmanager
    async def build(self, credentials: Credentials) -> AsyncIterator[Workspace]:
        team = credentials.team

        async def run(stop: asyncio.Event) -> None:
            if error := self.breaks.pop(team, None):
                raise error
            await stop.wait()
            await asyncio.sleep(self.ends_in_seconds)

        if not credentials.bot_token.isascii():
            raise UnicodeError("no token at all")
        self.said.append(("opened", team))
        yield cast(Workspace, SimpleNamespace(credentials=credentials, app=f"app of {team}", run=run))
        self.said.append(("closed", team))


@pytest.fixture
def world() -> World:
    return World([credentials(ACME)])


@pytest.fixture
async def workspaces(world: World) -> AsyncIterator[Workspaces]:
    workspaces = Workspaces(world, world.build)
    yield workspaces
    await workspaces.stop()


async def test_refresh_is_idempotent(world: World, workspaces: Workspaces) -> None:
    world.known.append(credentials(OTHER))
    await workspaces.refresh()
    await workspaces.refresh()
    assert world.said == [("opened", ACME), ("opened", OTHER)]
    assert [workspace.credentials.team for workspace in workspaces.running] == [ACME, OTHER]


async def test_running_team_needs_no_refresh(world: World, workspaces: Workspaces) -> None:
    await workspaces.refresh()
    found = await workspaces.of(ACME)
    assert found is not None and found.credentials == credentials(ACME)
    assert await workspaces.app_of(ACME) == cast(Any, f"app of {ACME}")
    assert world.looks == 1


async def test_single_workspace_gets_every_payload(world: World, workspaces: Workspaces) -> None:
    await workspaces.refresh()
    for team in (ACME, OTHER, TeamId("")):
        assert await workspaces.only_app(team) == cast(Any, f"app of {ACME}")
    assert world.looks == 1


async def test_failed_single_workspace_is_restarted(world: World, workspaces: Workspaces) -> None:
    world.breaks[ACME] = ZeroDivisionError()
    await workspaces.refresh()
    await asyncio.sleep(FRESH_SECONDS)
    assert workspaces.running == []
    assert await workspaces.only_app(OTHER) == cast(Any, f"app of {ACME}")


async def test_new_team_is_started_on_request(world: World, workspaces: Workspaces) -> None:
    await workspaces.refresh()
    await asyncio.sleep(FRESH_SECONDS)
    world.known.append(credentials(OTHER))
    world.takes_seconds = 0.5
    found = await asyncio.gather(*(workspaces.of(OTHER) for _ in range(5)))
    assert len({id(workspace) for workspace in found}) == 1 and found[0] is not None
    assert world.said == [("opened", ACME), ("opened", OTHER)]
    assert world.looks == 2


async def test_unknown_team_costs_one_refresh_per_second(world: World, workspaces: Workspaces) -> None:
    for _ in range(100):
        assert await workspaces.of(TeamId("T0STRANGER")) is None
        assert await workspaces.app_of(TeamId("T0STRANGER")) is None
        await asyncio.sleep(0.05)
    assert world.looks <= 6


async def test_unavailable_source_is_raised(world: World, workspaces: Workspaces) -> None:
    world.error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await workspaces.of(ACME)
    world.error = None
    assert await workspaces.of(ACME) is not None


async def test_close_waits_for_the_end(world: World, workspaces: Workspaces) -> None:
    world.known.append(credentials(OTHER))
    world.ends_in_seconds = 3.0
    await workspaces.refresh()
    world.known.pop(0)
    await workspaces.close(ACME)
    assert world.said[2:] == [("closed", ACME)]
    assert [workspace.credentials.team for workspace in workspaces.running] == [OTHER]
    assert await workspaces.of(ACME) is None
    await workspaces.close(ACME)


async def test_workspaces_are_refreshed_every_minute(world: World, workspaces: Workspaces) -> None:
    await workspaces.refresh()
    looking = asyncio.create_task(workspaces.run())
    world.known = [credentials(OTHER)]
    await asyncio.sleep(REFRESH_SECONDS - 1.0)
    assert world.said == [("opened", ACME)]
    await asyncio.sleep(2.0)
    assert world.said == [("opened", ACME), ("opened", OTHER), ("closed", ACME)]
    await end([looking])


async def test_workspaces_are_refreshed_when_another_process_says_so(
    world: World, workspaces: Workspaces
) -> None:
    await workspaces.refresh()
    looking = asyncio.create_task(workspaces.run())
    await asyncio.sleep(1.0)
    world.known = []
    workspaces.refresh_soon()
    await asyncio.sleep(0.1)
    assert world.said == [("opened", ACME), ("closed", ACME)]
    await end([looking])


async def test_failed_refresh_is_retried(
    world: World, workspaces: Workspaces, capsys: pytest.CaptureFixture[str]
) -> None:
    await workspaces.refresh()
    looking = asyncio.create_task(workspaces.run())
    world.error, world.known = StoreUnavailable("away"), []
    await asyncio.sleep(REFRESH_SECONDS + 1.0)
    assert world.said == [("opened", ACME)]
    assert "workspaces not read" in capsys.readouterr().out
    world.error = None
    await asyncio.sleep(REFRESH_SECONDS)
    assert world.said == [("opened", ACME), ("closed", ACME)]
    await end([looking])


async def test_changed_credentials_restart_the_workspace(world: World, workspaces: Workspaces) -> None:
    await workspaces.refresh()
    world.known = [credentials(ACME, "another key")]
    world.ends_in_seconds = 2.0
    changing = asyncio.create_task(workspaces.refresh())
    await asyncio.sleep(1.0)
    # A request in that moment is for the one to come.
    found = await workspaces.of(ACME)
    assert found is not None and found.credentials.omni_api_token == "another key"
    await changing
    assert world.said == [("opened", ACME), ("closed", ACME), ("opened", ACME)]


async def test_failed_workspace_is_restarted_alone(
    world: World, workspaces: Workspaces, capsys: pytest.CaptureFixture[str]
) -> None:
    world.known.append(credentials(OTHER))
    world.breaks[ACME] = ZeroDivisionError()
    await workspaces.refresh()
    await asyncio.sleep(0.1)
    assert [workspace.credentials.team for workspace in workspaces.running] == [OTHER]
    assert "workspace failed" in capsys.readouterr().out
    await workspaces.refresh()
    assert {workspace.credentials.team for workspace in workspaces.running} == {ACME, OTHER}


async def test_unbuildable_workspace_does_not_block_others(
    world: World, workspaces: Workspaces, capsys: pytest.CaptureFixture[str]
) -> None:
    world.known = [replace(credentials(ACME), bot_token="xoxb-\N{SNOWMAN}"), credentials(OTHER)]
    await workspaces.refresh()
    assert [workspace.credentials.team for workspace in workspaces.running] == [OTHER]
    assert await workspaces.of(ACME) is None
    said = capsys.readouterr().out
    assert "workspace failed" in said and "xoxb" not in said


async def test_problem_means_no_workspace_is_open(world: World, workspaces: Workspaces) -> None:
    unbuildable = replace(credentials(ACME), bot_token="xoxb-\N{SNOWMAN}")
    seen = []
    for known in ([], [unbuildable], [unbuildable, credentials(OTHER)], [credentials(ACME)]):
        world.known = known
        await workspaces.refresh()
        seen.append(workspaces.problem())
    assert seen == [None, "no workspace is open", None, None]


async def test_stop_closes_all_at_once(world: World) -> None:
    workspaces = Workspaces(world, world.build)
    world.known += [credentials(TeamId(f"T{number}")) for number in range(20)]
    world.ends_in_seconds = 4.0
    await workspaces.refresh()
    began = asyncio.get_running_loop().time()
    await workspaces.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(4.0)
    assert workspaces.running == []
    await workspaces.refresh()
    await asyncio.sleep(FRESH_SECONDS)
    assert await workspaces.of(ACME) is None
    await workspaces.stop()


class FakeLimiter:
    """Records its share."""

    def __init__(self, key: str, shares: dict[str, float]) -> None:
        self._key, self._shares = key, shares

    def set_share(self, part: float) -> None:
        self._shares[self._key] = part


async def test_key_budget_is_shared_by_jobs(world: World) -> None:
    shares: dict[str, float] = {}
    jobs = {
        ACME: SimpleNamespace(jobs=1, in_all=4),
        OTHER: SimpleNamespace(jobs=2, in_all=2),
        TeamId("T0THIRD"): SimpleNamespace(jobs=0, in_all=3),
        TeamId("T0FOURTH"): SimpleNamespace(jobs=0, in_all=0),
    }
    limiters = {key: FakeLimiter(key, shares) for key in "ab"}

    @asynccontextmanager
    async def build(known: Credentials) -> AsyncIterator[Workspace]:
        async def open_jobs() -> list[str]:
            return ["job"] * jobs[known.team].in_all

        workspace = SimpleNamespace(
            credentials=known,
            limiter=limiters[known.omni_api_token],
            cards=SimpleNamespace(open_jobs=open_jobs),
            components=SimpleNamespace(tracker=jobs[known.team]),
            run=lambda stop: stop.wait(),
        )
        yield cast(Workspace, workspace)

    world.known = [credentials(team, "a" if team in (ACME, OTHER) else "b") for team in jobs]
    workspaces = Workspaces(world, build)
    await workspaces.refresh()
    sharing = asyncio.create_task(workspaces.share_requests())
    await asyncio.sleep(0.1)
    assert shares == {"a": 3 / 6, "b": 1 / 3}
    jobs[ACME].jobs = 4
    await asyncio.sleep(COUNT_SECONDS)
    assert shares == {"a": 1.0, "b": 1 / 3}
    await end([sharing])
    await workspaces.stop()


async def test_one_refused_token_is_not_fatal() -> None:
    each_messages = [SimpleNamespace(refused=None), SimpleNamespace(refused="account_inactive")]
    several = Workspaces(cast(Any, None), cast(Any, None))
    assert several.refused() is None, "installed nowhere yet, it is ready to be"
    for number, messages in enumerate(each_messages):
        running = SimpleNamespace(workspace=SimpleNamespace(messages=messages))
        several._running[TeamId(f"T{number}")] = cast(Any, running)
    assert several.refused() is None
    each_messages[0].refused = "token_revoked"
    assert several.refused() == "token_revoked"


async def test_shared_key_counts_once() -> None:
    shared, own = object(), object()

    def workspace(requests: object) -> Any:
        async def reading(*, with_key: bool) -> tuple[object, bool]:
            return requests, with_key

        return SimpleNamespace(workspace=SimpleNamespace(limiter=requests, gauges=reading))

    several = Workspaces(cast(Any, None), cast(Any, None))
    for number, requests in enumerate((shared, shared, own)):
        several._running[TeamId(f"T{number}")] = workspace(requests)
    found: Any = await several.readings()
    assert found == [(shared, True), (shared, False), (own, True)]
