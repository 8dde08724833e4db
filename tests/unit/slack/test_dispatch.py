"""Each payload from Slack reaches the app of its workspace."""

from typing import Any

import pytest
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.domain.cards import TeamId
from bot.domain.errors import StoreUnavailable
from bot.slack.dispatch import NOT_WORKING, Dispatcher, team_of


class RememberingApp(AsyncApp):
    """An app that keeps what it is given, and answers as a test says."""

    def __init__(self) -> None:
        self.given: list[dict[str, object]] = []
        self.status = 200

    async def async_dispatch(self, req: AsyncBoltRequest) -> BoltResponse:
        self.given.append(req.body)
        return BoltResponse(status=self.status, body="heard")


class Stage:
    """Two workspaces, and what is delivered to them."""

    def __init__(self) -> None:
        self.apps = {TeamId("T1"): RememberingApp(), TeamId("T2"): RememberingApp()}
        self.dispatch = Dispatcher(self._app)
        self.trouble: Exception | None = None

    async def _app(self, team: TeamId) -> AsyncApp | None:
        if self.trouble is not None:
            raise self.trouble
        return self.apps.get(team)

    async def deliver(self, **body: object) -> tuple[int, str]:
        response = await self.dispatch.async_dispatch(AsyncBoltRequest(body=body, mode="socket_mode"))
        return response.status, response.body

    def given(self, team: str) -> int:
        return len(self.apps[TeamId(team)].given)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize(
    "body",
    [
        {"team_id": "T2", "command": "/omni-job"},
        {
            "team": {"id": "T2"},
            "type": "block_actions",
            "user": {"id": "U1", "team_id": "T1"},
            "actions": [{"action_id": "stop"}],
        },
        {
            "team": {"id": "T1"},
            "type": "view_submission",
            "view": {"type": "modal", "app_installed_team_id": "T2"},
        },
        {"team_id": "T1", "authorizations": [{"team_id": "T2"}], "event_id": "Ev1"},
    ],
    ids=["command", "click by a person of another workspace", "modal in a shared channel", "shared event"],
)
async def test_a_payload_comes_to_the_workspace_that_the_app_is_installed_in(
    stage: Stage, body: dict[str, object]
) -> None:
    assert await stage.deliver(**body) == (200, "heard")
    assert (stage.given("T1"), stage.given("T2")) == (0, 1)


@pytest.mark.parametrize(
    "body", [{"team_id": "T3"}, {"team_id": None}, {}, {"team": {"id": ["T1"]}}], ids=str
)
async def test_a_payload_of_no_workspace_that_is_served_is_acknowledged_and_dropped(
    stage: Stage, body: dict[str, object]
) -> None:
    assert await stage.deliver(**body) == (200, "")
    assert (stage.given("T1"), stage.given("T2")) == (0, 0)


async def test_command_without_workspace_is_answered(stage: Stage) -> None:
    assert await stage.deliver(team_id="T3", command="/omni-job") == (200, NOT_WORKING)


async def test_event_without_listener_is_acknowledged(stage: Stage) -> None:
    stage.apps[TeamId("T1")].status = 404
    assert await stage.deliver(team_id="T1", event_id="Ev1") == (200, "")
    assert (await stage.deliver(team_id="T1", command="/else"))[0] == 404


@pytest.mark.parametrize("event", [None, 0, "x", [], [None]], ids=str)
async def test_event_that_is_no_object_is_acknowledged(stage: Stage, event: object) -> None:
    assert await stage.deliver(team_id="T1", type="event_callback", event_id="Ev1", event=event) == (200, "")
    assert stage.given("T1") == 0


@pytest.mark.parametrize(
    "body",
    [
        {"type": "block_actions", "actions": None},
        {"type": "block_actions", "actions": []},
        {"type": "block_actions", "actions": [None]},
        {"type": "block_actions", "actions": [{"type": "button"}]},
        {"type": "view_submission", "view": None},
        {"type": "view_closed", "view": {"callback_id": "ask"}},
    ],
    ids=str,
)
async def test_malformed_interaction_is_acknowledged(stage: Stage, body: dict[str, object]) -> None:
    assert await stage.deliver(team_id="T1", **body) == (200, "")
    assert stage.given("T1") == 0


async def test_payload_is_refused_while_the_database_is_down(stage: Stage) -> None:
    stage.trouble = StoreUnavailable("down")
    assert (await stage.deliver(team_id="T1", event_id="Ev1"))[0] == 503
    stage.trouble = None
    assert await stage.deliver(team_id="T1", event_id="Ev1") == (200, "heard")


@pytest.mark.parametrize(
    "body, named, team",
    [
        ({"team": {"id": "T1"}}, "T1", "T1"),
        ({"team_id": "T2", "user_id": "W1", "enterprise_id": "E1"}, "T2", "T2"),
        ({"team": None, "enterprise": {"id": "E1"}, "user": {"team_id": "T2"}}, "", "T2"),
        ({"team": {"id": "E1"}, "view": {"team_id": "T2"}, "user": {"team_id": "T3"}}, "E1", "T2"),
        ({"team_id": "T1", "context_team_id": "T2", "event": {"team": "T3"}}, "", "T2"),
        ({"team_id": "E1", "event": {"team": "T3"}}, "E1", "T3"),
        ({"team_id": "E1", "view": None, "user": "W1", "event": []}, "E1", "E1"),
        ({}, "", ""),
    ],
)
def test_workspace_of_an_organizations_payload_is_found(body: dict[str, Any], named: str, team: str) -> None:
    assert team_of(body, named) == team
