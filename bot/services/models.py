"""What can be chosen for a question: Omni's models and their topics, remembered for a while."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from bot.domain import (
    AskRefused,
    KeyRefused,
    Model,
    ModelId,
    OmniBusy,
    OmniError,
    StoreUnavailable,
    TeamId,
    UserId,
)
from bot.domain.ports import OmniQuestions, QuestionRepository
from bot.rendering import ModelOptions, replies
from bot.tasks import RecentKeys

log = structlog.get_logger()

REMEMBERED_FOR = timedelta(minutes=5)
"""Models and topics change seldom, and each look costs a request."""
MOST_REMEMBERED = 200
"""Of how many models the topics are."""


class ModelCatalog:
    """Tells the choices for one person at a time."""

    def __init__(
        self,
        *,
        omni: OmniQuestions,
        questions: QuestionRepository,
        now: Callable[[], datetime],
        default_model: ModelId | None,
    ) -> None:
        """`default_model`: what is chosen for people who have chosen none."""
        self._asking = omni
        self._questions = questions
        self._now = now
        self._default_model = default_model
        self._models: tuple[Sequence[Model], datetime] | None = None
        self._topics: RecentKeys[ModelId, tuple[Sequence[str], datetime]] = RecentKeys(MOST_REMEMBERED)

    async def choices(self, team: TeamId, user: UserId, model: ModelId | None = None) -> ModelOptions:
        """What the person can choose. `model`: what they have chosen just now; None: what they chose last."""
        try:
            models = await self._all_models()
            known = {each.id for each in models}
            chosen = model or await self._last(team, user)
            chosen = chosen if chosen in known else self._default_model
            topics = await self._topics_of(chosen) if chosen in known and chosen else ()
        except OmniError as error:
            log.warning("no choices", error=type(error).__name__)
            return ModelOptions(trouble=_trouble(error))
        except StoreUnavailable as error:
            # The key's budget is in the database too.
            log.warning("no choices", reason=str(error))
            return ModelOptions(trouble=replies.storage_down())
        return ModelOptions(models, chosen if chosen in known else None, topics)

    async def _last(self, team: TeamId, user: UserId) -> ModelId | None:
        try:
            return await self._questions.last_model(team, user)
        except StoreUnavailable as error:
            log.warning("last choice not read", reason=str(error))
            return None

    async def _all_models(self) -> Sequence[Model]:
        if self._models is None or self._is_old(self._models[1]):
            self._models = await self._asking.models(), self._now()
        return self._models[0]

    async def _topics_of(self, model: ModelId) -> Sequence[str]:
        known = self._topics.get(model)
        if known is None or self._is_old(known[1]):
            try:
                known = await self._asking.topics(model), self._now()
            except AskRefused:
                return ()  # the model is gone since it was listed
            self._topics[model] = known
        return known[0]

    def _is_old(self, since: datetime) -> bool:
        return self._now() - since >= REMEMBERED_FOR


def _trouble(error: OmniError) -> str:
    match error:
        case KeyRefused():
            return replies.key_refused()
        case OmniBusy():
            return replies.omni_busy()
        case _:
            return replies.omni_down()
