"""The Omni models and topics that users can choose from, cached."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from bot.domain import (
    AskRefused,
    ChannelDefault,
    ChannelRef,
    KeyRefused,
    Model,
    ModelId,
    OmniBusy,
    OmniError,
    StoreUnavailable,
    TeamId,
    UserId,
)
from bot.domain.ports import ChannelDefaultRepository, OmniQuestions, QuestionRepository
from bot.rendering import ModelOptions, replies
from bot.tasks import RecentKeys

log = structlog.get_logger()

CACHED_FOR = timedelta(minutes=5)
MOST_CACHED_TOPICS = 200
"""Models whose topics are cached."""


class ModelCatalog:
    """Looks up the models and topics for one user at a time."""

    def __init__(
        self,
        *,
        omni: OmniQuestions,
        questions: QuestionRepository,
        now: Callable[[], datetime],
        default_model: ModelId | None,
        channel_defaults: ChannelDefaultRepository,
    ) -> None:
        """`default_model`: preselected for users who have not chosen a model yet. `channel_defaults`: preselected there
        for all users."""
        self._omni = omni
        self._questions = questions
        self._now = now
        self._default_model = default_model
        self._channel_defaults = channel_defaults
        self._models: tuple[Sequence[Model], datetime] | None = None
        self._topics: RecentKeys[ModelId, tuple[Sequence[str], datetime]] = RecentKeys(MOST_CACHED_TOPICS)

    async def choices(self, channel: ChannelRef, user: UserId, model: ModelId | None = None) -> ModelOptions:
        """Return the options of a user in a channel. `model`: the model to preselect; None: the channel's, or else the
        one that the user chose last."""
        default = await self._channel_default(channel)
        try:
            models = await self._all_models()
            known = {each.id for each in models}
            chosen = model or (default.model if default else await self._last_model(channel.team, user))
            chosen = chosen if chosen in known else self._default_model
            topics = await self._topics_of(chosen) if chosen in known and chosen else ()
        except OmniError as error:
            log.warning("models not loaded", error=type(error).__name__)
            return ModelOptions(trouble=_trouble(error))
        except StoreUnavailable as error:
            # From the rate limiter, which is in the database too.
            log.warning("models not loaded", reason=str(error))
            return ModelOptions(trouble=replies.storage_down())
        topic = default.topic if default is not None and default.model == chosen else None
        return ModelOptions(models, chosen if chosen in known else None, topics, topic)

    async def _channel_default(self, channel: ChannelRef) -> ChannelDefault | None:
        try:
            return await self._channel_defaults.get(channel.id)
        except StoreUnavailable as error:
            log.warning("channel default not read", reason=str(error))
            return None

    async def _last_model(self, team: TeamId, user: UserId) -> ModelId | None:
        try:
            return await self._questions.last_model(team, user)
        except StoreUnavailable as error:
            log.warning("last model not read", reason=str(error))
            return None

    async def _all_models(self) -> Sequence[Model]:
        if self._models is None or self._is_old(self._models[1]):
            self._models = await self._omni.models(), self._now()
        return self._models[0]

    async def _topics_of(self, model: ModelId) -> Sequence[str]:
        known = self._topics.get(model)
        if known is None or self._is_old(known[1]):
            try:
                known = await self._omni.topics(model), self._now()
            except AskRefused:
                return ()  # the model was deleted after it was listed
            self._topics[model] = known
        return known[0]

    def _is_old(self, since: datetime) -> bool:
        return self._now() - since >= CACHED_FOR


def _trouble(error: OmniError) -> str:
    match error:
        case KeyRefused():
            return replies.key_refused()
        case OmniBusy():
            return replies.omni_busy()
        case _:
            return replies.omni_down()
