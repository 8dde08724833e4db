"""The menu of an answer: each choice goes to its service or opens its modal, and a submitted modal is acknowledged."""

from typing import cast

import pytest

from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs
from bot.domain.errors import ViewGone
from bot.handlers.answers import AnswerHandlers
from bot.handlers.modals import ModalHandlers
from bot.rendering import modals, replies
from bot.services.ask import AskService
from bot.services.feedback import FeedbackService
from bot.services.follow import FollowService
from bot.services.job_data import JobDataService
from bot.services.models import ModelCatalog
from bot.services.remove import RemoveService
from bot.services.share import ShareService
from tests.support.fakes import FakeAccess
from tests.support.slack_payloads import ADA, HERE, TEAM, URL, Counter, click, submitted

pytestmark = pytest.mark.looptime

CARD = (CardId("watch"), HERE, MessageTs("1.1"))
THERE = ChannelRef(TEAM, ChannelId("C0THERE"))


class Menu(Counter):
    """The handlers of answers between desks and a person."""

    def __init__(self) -> None:
        super().__init__()
        forms = ModalHandlers(
            follow_service=cast(FollowService, self.service),
            ask_service=cast(AskService, self.service),
            feedback_service=cast(FeedbackService, self.service),
            authorization=FakeAccess(),
            models=cast(ModelCatalog, self.service),
            views=self.views,
            interactions=self.interactions,
            team=TEAM,
        )
        self.answers = AnswerHandlers(
            job_data_service=cast(JobDataService, self.service),
            share_service=cast(ShareService, self.service),
            remove_service=cast(RemoveService, self.service),
            modal_handlers=forms,
            interactions=self.interactions,
            team=TEAM,
        )

    async def choose(self, value: str | None) -> None:
        chosen = [{"type": "overflow", "selected_option": {"value": value}}]
        await self.press(self.answers.on_menu, click(actions=chosen))
        await self.interactions.drain()


async def test_show_steps_in_menu_acts_like_its_button() -> None:
    menu = Menu()
    await menu.choose("show_steps watch")
    assert menu.service.asked == [("show_steps", *CARD, ADA)]
    assert menu.told == [(URL, "line")]


async def test_share_opens_its_modal() -> None:
    menu = Menu()
    await menu.choose("share_answer watch")
    assert menu.views.opened == [("trigger", modals.share(*CARD))]
    assert menu.told == []


async def test_unopened_modal_is_reported() -> None:
    menu = Menu()
    menu.views.error = ViewGone("expired_trigger_id")
    await menu.choose("share_answer watch")
    assert menu.told == [(URL, replies.slack_busy())]


@pytest.mark.parametrize("value", ["", "watch", "cancel_job watch", None])
async def test_unknown_choice_does_nothing(value: str | None) -> None:
    menu = Menu()
    await menu.choose(value)
    assert menu.service.asked == [] and menu.told == [(URL, replies.nothing_to_show_here())]


async def test_picked_channel_is_shared_to() -> None:
    menu = Menu()
    view = submitted(modals.share(*CARD), channel=THERE.id)
    await menu.accept(menu.answers.on_share, {"user": {"id": ADA}, "trigger_id": "t"}, view)
    await menu.interactions.drain()
    assert menu.service.asked == [("share", *CARD, THERE, ADA, "t")]
    assert [(user, line) for _, user, line, _ in menu.views.whispered] == [(ADA, "line")]


async def test_missing_channel_is_shown_at_its_field() -> None:
    menu = Menu()
    await menu.accept(menu.answers.on_share, {"user": {"id": ADA}}, submitted(modals.share(*CARD)))
    assert menu.acknowledged == [
        {"response_action": "errors", "errors": {"channel": "Please choose a channel."}}
    ]
    assert menu.service.asked == []


async def test_removal_opens_its_modal_for_who_may() -> None:
    menu = Menu()
    menu.service.answer = None  # no refusal
    await menu.choose("remove_answer watch")
    assert menu.service.asked == [("refusal", *CARD, ADA)]
    assert menu.views.opened == [("trigger", modals.remove(*CARD))] and menu.told == []


async def test_removal_is_refused_without_modal() -> None:
    menu = Menu()
    await menu.choose("remove_answer watch")
    assert menu.views.opened == [] and menu.told == [(URL, "line")]


async def test_confirmed_removal_is_passed_on() -> None:
    menu = Menu()
    view = submitted(modals.remove(*CARD))
    await menu.accept(menu.answers.on_remove, {"user": {"id": ADA}, "trigger_id": "t"}, view)
    await menu.interactions.drain()
    assert menu.service.asked == [("remove", *CARD, ADA)]
    assert [(user, line) for _, user, line, _ in menu.views.whispered] == [(ADA, "line")]


async def test_removal_without_metadata_is_ignored() -> None:
    menu = Menu()
    view = submitted(modals.remove(*CARD)) | {"private_metadata": "[]"}
    await menu.accept(menu.answers.on_remove, {"user": {"id": ADA}}, view)
    assert menu.service.asked == [] and len(menu.acknowledged) == 1
