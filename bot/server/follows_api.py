"""The HTTP API: `POST /api/follows` announces a job in a channel, for CI, schedulers and scripts.

There is no such path without `API_TOKEN`. A request without the token costs nothing: its body is not read.
"""

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bot.domain import (
    API_CLIENT,
    Announced,
    Announcement,
    AnnouncementProblem,
    AnnouncementRefused,
    ChannelId,
    ChannelRef,
    JobId,
    MessageTs,
    StoreUnavailable,
    TeamId,
)
from bot.log import begin_interaction
from bot.server.http import BodyRefused, has_bearer_token, read_body
from bot.user_limit import UserLimit, acting_user

log = structlog.get_logger()

PATH = "/api/follows"

CALLS_PER_MINUTE = 60
"""How many requests with the token this process takes, half of them at once. Each costs a request to Omni, and
announced jobs are polled like all others."""

LARGEST_BODY_BYTES = 16 * 1024

READ_WITHIN_SECONDS = 10.0

RETRY_AFTER_SECONDS = 5

MOST_MENTIONS = 20

_STATUSES = {
    AnnouncementProblem.UNKNOWN_JOB: 404,
    AnnouncementProblem.UNKNOWN_CHANNEL: 404,
    AnnouncementProblem.BOT_NOT_IN_CHANNEL: 403,
    AnnouncementProblem.POST_REFUSED: 403,
    AnnouncementProblem.CHANNEL_ARCHIVED: 403,
    AnnouncementProblem.CHANNEL_SHARED: 403,
    AnnouncementProblem.UNCONFIRMED: 409,
    AnnouncementProblem.UNAVAILABLE: 503,
}

Announce = Callable[[Announcement], Awaitable[Announced]]


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The running workspaces."""

    teams: Callable[[], Collection[TeamId]]
    """The workspaces that the bot serves."""
    announce_in: Callable[[TeamId], Awaitable[Announce | None]]
    """Returns `AnnouncementService.announce` of a workspace; None if it is not served. Raises StoreUnavailable."""


_EMAIL = r"[!-;=?A-{}~]{1,64}@[!-;=?A-{}~]{1,255}"
"""Printable ASCII without `<`, `>`, `|` and a second `@`. Slack decides whether it is a user's."""


def _matching(pattern: str, problem: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(problem)
        return value

    return AfterValidator(check)


_Job = Annotated[
    str,
    _matching(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "is not the UUID of a job"),
]
_Channel = Annotated[
    str,
    _matching(
        r"[CG][A-Z0-9]{1,30}", "is not the id of a channel, such as C0123ABCD: Slack shows it in the details"
    ),
]
_Ts = Annotated[
    str, _matching(r"[0-9]{10}\.[0-9]{6}", "is not the ts of a message, such as 1700000000.123456")
]
_Team = Annotated[str, _matching(r"T[A-Z0-9]{1,30}", "is not the id of a workspace, such as T0123ABCD")]
_Mention = Annotated[
    str,
    _matching(
        rf"[UW][A-Z0-9]{{1,30}}|{_EMAIL}",
        "is neither a user's id nor an email address",
    ),
]


class _Body(BaseModel):
    """The body of a request. An unknown field is refused, since a misspelled one would be ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)

    job_id: _Job
    channel: _Channel
    thread_ts: _Ts | None = None
    mention: Annotated[list[_Mention], Field(max_length=MOST_MENTIONS)] = []
    team_id: _Team | None = None


class _Problem(Exception):
    """The response to a request that can't be fulfilled."""

    def __init__(self, status: int, error: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.response = web.json_response(
            {"error": error, "message": message},
            status=status,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )


class FollowsApi:
    """The endpoint. Every response is a JSON object: `card_id` and `not_mentioned`, or `error` and `message`.

    - 202: the card is stored and will be posted,
    - 200: the job has a card in that channel already, with this id,
    - 400, 408, 413, 415: the body is not JSON, too slow, too large, or of another type,
    - 401: no or a wrong token,
    - 403, 404, 409: see `AnnouncementProblem`,
    - 422: a field is missing or has an invalid value,
    - 429: too many requests; `Retry-After` says when the next is accepted,
    - 503: the same request may succeed later.
    """

    def __init__(self, token: str | None) -> None:
        """`token`: the bearer token; None: there is no endpoint."""
        self.context: ApiContext | None = None
        """None while the bot starts."""
        self._token = token
        self._limit = UserLimit(CALLS_PER_MINUTE)

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [] if self._token is None else [web.post(PATH, self._respond)]

    async def _respond(self, request: web.Request) -> web.Response:
        try:
            # In a task of its own: all requests of a connection share a context.
            announced = await asyncio.create_task(self._handle(request))
        except _Problem as problem:
            return problem.response
        answer = {"card_id": announced.card, "not_mentioned": list(announced.not_mentioned)}
        return web.json_response(answer, status=202 if announced.is_new else 200)

    async def _handle(self, request: web.Request) -> Announced:
        if self._token is None or not has_bearer_token(request, self._token):
            log.warning("api token refused")
            raise _Problem(
                401, "unauthorized", "Send the API_TOKEN as a bearer token.", WWW_Authenticate="Bearer"
            )
        if self.context is None:
            raise _unavailable("The bot is starting.")
        begin_interaction()
        await self._count()
        body = await _read(request)
        team = _team(body, self.context.teams())
        try:
            announce = await self.context.announce_in(team)
        except StoreUnavailable as error:
            raise _unavailable("The bot can't read its database.") from error
        if announce is None:
            raise _Problem(404, "unknown_team", "The bot is not installed in this workspace.")
        announcement = Announcement(
            JobId(body.job_id.lower()),
            ChannelRef(team, ChannelId(body.channel)),
            MessageTs(body.thread_ts) if body.thread_ts else None,
            tuple(body.mention),
        )
        try:
            return await announce(announcement)
        except AnnouncementRefused as refused:
            if refused.problem is AnnouncementProblem.UNAVAILABLE:
                raise _unavailable(str(refused)) from refused
            raise _Problem(_STATUSES[refused.problem], refused.problem.value, str(refused)) from refused

    async def _count(self) -> None:
        """Count the request, and act as the API from here on."""
        acting_user.set(API_CLIENT)
        if self._limit.is_exceeded(API_CLIENT):
            seconds = math.ceil(self._limit.wait_seconds(API_CLIENT))
            raise _Problem(429, "too_many_requests", f"Try again in {seconds} s.", Retry_After=str(seconds))
        async with self._limit.turn():
            pass


async def _read(request: web.Request) -> _Body:
    if request.content_type != "application/json":
        raise _Problem(415, "not_json", "Send the body as application/json.")
    try:
        body = await read_body(request, within_seconds=READ_WITHIN_SECONDS, most_bytes=LARGEST_BODY_BYTES)
        content = json.loads(body)
    except BodyRefused as refused:
        message = "The body is too large, too slow or malformed."
        raise _Problem(refused.status, "body_refused", message) from refused
    except (ValueError, RecursionError) as error:
        raise _Problem(400, "not_json", "The body is not JSON.") from error
    try:
        return _Body.model_validate(content)
    except ValidationError as error:
        sentences = [_sentence(problem["loc"], problem["msg"]) for problem in error.errors()]
        raise _Problem(422, "invalid", " ".join(sentences)) from error


def _sentence(location: tuple[int | str, ...], problem: str) -> str:
    """Say what is wrong with a field, or with an item of a list. Never repeats its value."""
    name = str(location[0])[:100] if location else "The body"
    name += "".join(f"[{index}]" for index in location[1:])
    return f"{name}: {problem.removeprefix('Value error, ')}."


def _team(body: _Body, teams: Collection[TeamId]) -> TeamId:
    if body.team_id is not None:
        return TeamId(body.team_id)
    if not teams:
        raise _unavailable("The bot has no workspace yet.")
    if len(teams) > 1:
        raise _Problem(422, "invalid", "team_id: is required, because the bot serves several workspaces.")
    (team,) = teams
    return team


def _unavailable(message: str) -> _Problem:
    return _Problem(503, "unavailable", message, Retry_After=str(RETRY_AFTER_SECONDS))
