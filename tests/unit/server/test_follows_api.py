"""The API over a real socket: the workspace of a request, starting and failing backends, and what is logged."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from bot.domain.announcements import Announced, Announcement, AnnouncementProblem, AnnouncementRefused
from bot.domain.cards import API_CLIENT, CardId, ChannelId, ChannelRef, MessageTs, TeamId
from bot.domain.errors import StoreUnavailable
from bot.server.follows_api import PATH, RETRY_AFTER_SECONDS, Announce, ApiContext, FollowsApi
from bot.server.http import serve
from bot.user_limit import acting_user
from tests.support.fakes import JOB
from tests.support.network import a_free_port

TOKEN = "0123456789abcdef-0123456789abcdef"
ACME, OTHER = TeamId("T0ACME"), TeamId("T0OTHER")


class Served:
    """The endpoint, and workspaces that remember what they announce."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}{PATH}"
        self.api = FollowsApi(TOKEN)
        self.api.context = ApiContext(lambda: self.teams, self._announce_in)
        self.teams: Sequence[TeamId] = [ACME]
        self.announced: list[Announcement] = []
        self.acting: list[object] = []
        self.error: Exception | None = None
        self.is_down = False

    async def _announce_in(self, team: TeamId) -> Announce | None:
        if self.is_down:
            raise StoreUnavailable("gone")
        return self._announce if team in self.teams else None

    async def _announce(self, announcement: Announcement) -> Announced:
        self.announced.append(announcement)
        self.acting.append(acting_user.get())
        if self.error is not None:
            raise self.error
        not_mentioned = ("a@b.co: no such user",) if announcement.mentions else ()
        return Announced(CardId("card"), len(self.announced) == 1, not_mentioned)

    async def post(self, **changed: object) -> tuple[int, dict[str, Any], str | None]:
        body = {"job_id": JOB, "channel": "C0HERE"} | changed
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as client,
            client.post(self.url, json=body) as answer,
        ):
            return answer.status, await answer.json(), answer.headers.get("Retry-After")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    port = a_free_port()
    served = Served(port)
    async with serve("127.0.0.1", port, served.api.routes()):
        yield served


async def test_request_becomes_an_announcement(served: Served) -> None:
    first = await served.post(job_id=JOB.upper(), thread_ts="1700000000.123456", mention=["U0ADA", "a@b.co"])
    again = await served.post()
    assert first[:2] == (202, {"card_id": "card", "not_mentioned": ["a@b.co: no such user"]})
    assert again[:2] == (200, {"card_id": "card", "not_mentioned": []})
    here = ChannelRef(ACME, ChannelId("C0HERE"))
    assert served.announced == [
        Announcement(JOB, here, MessageTs("1700000000.123456"), ("U0ADA", "a@b.co")),
        Announcement(JOB, here),
    ]
    assert served.acting == [API_CLIENT, API_CLIENT], "requests to Omni count as the API's"


@pytest.mark.parametrize(
    "teams, team_id, status, error",
    [
        ([ACME, OTHER], None, 422, "invalid"),
        ([ACME, OTHER], OTHER, 202, None),
        ([ACME, OTHER], "T0THIRD", 404, "unknown_team"),
        ([ACME], ACME, 202, None),
        ([ACME], "acme", 422, "invalid"),
        ([], None, 503, "unavailable"),
    ],
)
async def test_workspace_is_named_where_there_are_several(
    served: Served, teams: list[TeamId], team_id: str | None, status: int, error: str | None
) -> None:
    served.teams = teams
    answered, answer, _ = await served.post(**({} if team_id is None else {"team_id": team_id}))
    assert (answered, answer.get("error")) == (status, error)
    assert [announcement.channel.team for announcement in served.announced] == [team_id] * (status == 202)


@pytest.mark.parametrize("trouble", ["starting", "database", "slack"])
async def test_unavailable_bot_names_a_time(served: Served, trouble: str) -> None:
    if trouble == "starting":
        served.api.context = None
    served.is_down = trouble == "database"
    served.error = AnnouncementRefused(AnnouncementProblem.UNAVAILABLE, "Slack isn't responding.")
    status, answer, retry_after = await served.post()
    assert (status, answer["error"], retry_after) == (503, "unavailable", str(RETRY_AFTER_SECONDS))


@pytest.mark.parametrize("problem", AnnouncementProblem)
async def test_each_problem_has_a_status(served: Served, problem: AnnouncementProblem) -> None:
    served.error = AnnouncementRefused(problem, "The reason.")
    status, answer, _ = await served.post()
    assert 400 <= status <= 503 and answer == {"error": problem.value, "message": "The reason."}


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"channel": 7}, "channel: Input should be a valid string."),
        ({"mention": "U0ADA"}, "mention: Input should be a valid list."),
        ({"mention": ["U0ADA"] * 21}, "mention: List should have at most 20 items after validation, not 21."),
        ({"mention": ["U0A", "<!channel>"]}, "mention[1]: is neither a user's id nor an email address."),
        ({"mention": ["U0A", "a@b@c"]}, "mention[1]: is neither a user's id nor an email address."),
        ({"mention": ["U0A", "a\ud800@b.co"]}, "mention[1]: is neither a user's id nor an email address."),
        ({"thread_ts": "1700000000"}, "thread_ts: is not the ts of a message, such as 1700000000.123456."),
        ({"channel": "D0ADA"}, "channel: is not the id of a channel"),
        ({"job_id": f"{JOB}\n"}, "job_id: is not the UUID of a job."),
        ({"secret-name": "secret-value"}, "secret-name: Extra inputs are not permitted."),
    ],
)
async def test_invalid_field_is_named_without_its_value(
    served: Served, changed: dict[str, object], message: str
) -> None:
    status, answer, _ = await served.post(**changed)
    assert (status, answer["error"]) == (422, "invalid")
    assert answer["message"].startswith(message) and "secret-value" not in answer["message"]
    assert served.announced == []


async def test_neither_tokens_nor_bodies_are_logged(served: Served) -> None:
    with capture_logs() as logs:
        await served.post(mention=["secret@example.com"])
        await served.post(mention=["secret"])
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer secret"}) as client:
            assert (await client.post(served.url, json={"job_id": "secret"})).status == 401
    written = json.dumps(logs)
    assert "api token refused" in written
    assert "secret" not in written and TOKEN not in written
