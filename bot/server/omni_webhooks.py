"""Receives Omni's webhooks about jobs: `POST /omni/webhook/<team>/<question>`.

The address names the question, and so the signing secret. An unsigned request causes no database query and no request
to Omni; if its headers don't even have the right form, its body is not read. A webhook about a job's end only triggers
a poll.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

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


READ_WITHIN_SECONDS = 10.0

REMEMBERED = 10_000
"""How many events are remembered, to ignore repeated ones."""

BOUND_WITHIN_SECONDS = 3.0

CHECK_SECONDS = 0.25
"""A job may end before the response to its submit is stored. How long an event waits for that, and how often it checks
the database."""

_TEAM = re.compile(r"[TE][A-Z0-9]{1,31}")

_ASK = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


FindQuestion = Callable[[TeamId, QuestionId], Awaitable[PendingQuestion | None]]


@dataclass(frozen=True, slots=True)
class WebhookContext:
    """The running bot, as far as the endpoint needs it."""

    secret: bytes = field(repr=False)
    """The server secret, from which the signing secrets are derived."""
    find_question: FindQuestion
    """Loads a question of any team; None if it does not exist. Raises StoreUnavailable."""
    tell: Callable[[TeamId, JobId, JobEvent], None]
    """Publishes an event to the job's tracker."""


class WebhookEndpoint:
    """The endpoint. Responds without a body.

    - 200 to any signed request,
    - 401 to any other,
    - 413 or 408 to a body that is too large or too slow,
    - 503 if Omni should repeat the webhook later.
    """

    def __init__(self, now: Callable[[], datetime], metrics: Metrics = NO_METRICS) -> None:
        self.context: WebhookContext | None = None
        """None while the bot starts."""
        self._now = now
        self._metrics = metrics
        self._recent: RecentKeys[str, None] = RecentKeys(REMEMBERED)

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.post(PATH + "/{team}/{ask}", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        status = await self._status(request)
        self._metrics.webhook(status)
        return web.Response(status=status)

    async def _status(self, request: web.Request) -> int:
        context = self.context
        if context is None:
            return 503
        team, ask = TeamId(request.match_info["team"]), QuestionId(request.match_info["ask"])
        timestamp, signature = request.headers.get(TIMESTAMP, ""), request.headers.get(SIGNATURE, "")
        is_address = _TEAM.fullmatch(team) and _ASK.fullmatch(ask)
        if not (is_address and looks_signed(timestamp, signature, self._now())):
            return _unsigned()
        try:
            body = await read_body(request, within_seconds=READ_WITHIN_SECONDS)
        except BodyRefused as refused:
            return refused.status
        at = signed_at(timestamp, signature, body, signing_secret(context.secret, team, ask), self._now())
        if at is None:
            return _unsigned()
        content = parse_webhook(body, at)
        return await self._take_once(context, team, ask, content, signature)

    async def _take_once(
        self,
        context: WebhookContext,
        team: TeamId,
        question_id: QuestionId,
        content: WebhookEvent,
        signature: str,
    ) -> int:
        """Handle an event unless it is a repeated one. Returns the HTTP status."""
        names = {f"{question_id} {signature.lower()}", f"{question_id} {content.id or signature.lower()}"}
        if names & self._recent.keys():
            return 200
        self._remember(names)
        try:
            job = await _find_job(context.find_question, team, question_id, content)
        except StoreUnavailable as error:
            log.warning("webhook not processed", reason=str(error))
            for name in names:
                self._recent.pop(name, None)
            return 503
        if job is not None:
            context.tell(team, job, content.event)
        return 200

    def _remember(self, names: set[str]) -> None:
        self._recent.update(dict.fromkeys(names))


async def _find_job(
    find_question: FindQuestion, team: TeamId, question_id: QuestionId, content: WebhookEvent
) -> JobId | None:
    """Find the job of an event; None if it is unknown. Raises StoreUnavailable."""
    known = await find_question(team, question_id)
    if content.event.kind is EventKind.ENDED:
        waited = 0.0
        while known is not None and known.job is None and waited < BOUND_WITHIN_SECONDS:
            await asyncio.sleep(CHECK_SECONDS)
            waited += CHECK_SECONDS
            known = await find_question(team, question_id)
    job = None if known is None else known.job
    if job is None:
        log.info("webhook of a question without a job", ask=question_id)
    elif content.job not in (None, job):
        log.warning("webhook names another job", job=job)
        return None
    elif content.event.kind is EventKind.UNCLEAR:
        log.warning("webhook not understood", job=job)
    return job


def _unsigned() -> int:
    # Only at debug level: any client can cause this, as often as it likes.
    log.debug("webhook refused", reason="no fresh signature")
    return 401
