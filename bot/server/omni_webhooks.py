"""Where Omni tells by itself how jobs go on: `POST /omni/webhook/<team>/<ask>`.

The address names the question, so that what a request must be signed with is known before anything of it is read. A
request that is not signed with that costs neither a look into the database nor a request to Omni, and if it does not
even look signed, its body is not read. One that is may say
what it likes: of the end of a job no more is taken from it than that it is worth to ask Omni how the job is.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from aiohttp import web

from bot.domain import EventKind, JobEvent, JobId, PendingQuestion, QuestionId, StoreUnavailable, TeamId
from bot.domain.ports import NO_METRICS, Metrics
from bot.omni import (
    PATH,
    SIGNATURE,
    TIMESTAMP,
    WebhookEvent,
    looks_signed,
    parse_webhook,
    signed_at,
    signing_secret,
)
from bot.server.http import BodyRefused, read_body
from bot.tasks import RecentKeys

log = structlog.get_logger()


LARGEST_BODY_BYTES = 64 * 1024
"""An answer of Omni's may be longer, but then it is not needed here: Omni is asked for it."""

READ_WITHIN_SECONDS = 10.0

REMEMBERED = 10_000
"""How many events are remembered, so that one told again is not taken in again."""

BOUND_WITHIN_SECONDS = 3.0

LOOKS_AGAIN_SECONDS = 0.25
"""A job may end before the answer to its submit has been stored. How long the word of it waits for that, and how often
the database is asked meanwhile."""

_TEAM = re.compile(r"[TE][A-Z0-9]{1,31}")

_ASK = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class QuestionLookup(Protocol):
    """The asks of all teams."""

    async def get(self, team: TeamId, question_id: QuestionId) -> PendingQuestion | None:
        """One ask of a team's; None where there is none, or it is forgotten. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Inside:
    """What the door leads to."""

    secret: bytes = field(repr=False)
    """The server's, which all signing secrets are made from."""
    asks: QuestionLookup
    tell: Callable[[TeamId, JobId, JobEvent], None]
    """Takes in a team's event."""


class WebhookEndpoint:
    """Answers Omni: 200 to what is signed, also if there is nothing to be done; 401 to all else, whatever is wrong with
    it; 413 to what is too large and 408 to what takes too long; 503 where it is to be told again later. No answer says
    more."""

    def __init__(self, now: Callable[[], datetime], metrics: Metrics = NO_METRICS) -> None:
        self.inside: Inside | None = None
        """None until the bot is ready for it."""
        self._now = now
        self._metrics = metrics
        self._known: RecentKeys[str, None] = RecentKeys(REMEMBERED)

    def routes(self) -> list[web.RouteDef]:
        """The one address."""
        return [web.post(PATH + "/{team}/{ask}", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        status = await self._status(request)
        self._metrics.webhook(status)
        return web.Response(status=status)

    async def _status(self, request: web.Request) -> int:
        inside = self.inside
        if inside is None:
            return 503
        team, ask = TeamId(request.match_info["team"]), QuestionId(request.match_info["ask"])
        timestamp, signature = request.headers.get(TIMESTAMP, ""), request.headers.get(SIGNATURE, "")
        is_address = _TEAM.fullmatch(team) and _ASK.fullmatch(ask)
        if not (is_address and looks_signed(timestamp, signature, self._now())):
            return _refused()
        try:
            body = await read_body(
                request, within_seconds=READ_WITHIN_SECONDS, largest_bytes=LARGEST_BODY_BYTES
            )
        except BodyRefused as refused:
            return refused.status
        at = signed_at(timestamp, signature, body, signing_secret(inside.secret, team, ask), self._now())
        if at is None:
            return _refused()
        told = parse_webhook(body, at)
        return await self._take_once(inside, team, ask, told, signature)

    async def _take_once(
        self, inside: Inside, team: TeamId, question_id: QuestionId, told: WebhookEvent, signature: str
    ) -> int:
        """Take in what was told, unless it was before. Returns the status to answer."""
        names = {f"{question_id} {signature.lower()}", f"{question_id} {told.id or signature.lower()}"}
        if names & self._known.keys():
            return 200
        self._remember(names)
        try:
            job = await _job(inside.asks, team, question_id, told)
        except StoreUnavailable as error:
            log.warning("webhook not taken in", reason=str(error))
            for name in names:
                self._known.pop(name, None)
            return 503
        if job is not None:
            inside.tell(team, job, told.event)
        return 200

    def _remember(self, names: set[str]) -> None:
        self._known.update(dict.fromkeys(names))


async def _job(
    asks: QuestionLookup, team: TeamId, question_id: QuestionId, told: WebhookEvent
) -> JobId | None:
    """Whose event it is; None where that is nobody's here. Raises StoreUnavailable."""
    known = await asks.get(team, question_id)
    if told.event.kind is EventKind.ENDED:
        waited = 0.0
        while known is not None and known.job is None and waited < BOUND_WITHIN_SECONDS:
            await asyncio.sleep(LOOKS_AGAIN_SECONDS)
            waited += LOOKS_AGAIN_SECONDS
            known = await asks.get(team, question_id)
    job = None if known is None else known.job
    if job is None:
        log.info("webhook of a question without a job", ask=question_id)
    elif told.job not in (None, job):
        log.warning("webhook names another job", job=job)
        return None
    elif told.event.kind is EventKind.UNCLEAR:
        log.warning("webhook not understood", job=job)
    return job


def _refused() -> int:
    # Anybody can have this said, as often as they like.
    log.debug("webhook refused", reason="not signed, or not lately")
    return 401
