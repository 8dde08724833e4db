"""A file comes into a thread in three steps, and every way they can fail says what to do."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.demo.faults import HTML_500, RESET_AFTER, RESET_BEFORE, Fault
from bot.demo.slack.simulator import SimulatedSlack, too_many_requests
from bot.domain.cards import MessageTs
from bot.domain.errors import (
    MessageGone,
    NotAllowedHere,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    TokenRefused,
)
from bot.domain.messages import Message, Upload
from bot.rendering.blocks import picture
from bot.slack.web_api import error_for
from tests.support.slack_messages import CARD, CARD_ID, World, messages_of

CSV = Upload("Top products.csv", "Top <products>", "\ufeffa,b\r\né,2\r\n".encode())
GET_URL, SEND, COMPLETE = "files.getUploadURLExternal", "upload", "files.completeUploadExternal"
STEPS = (GET_URL, SEND, COMPLETE)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with SimulatedSlack(limits=False) as slack, messages_of(slack) as messages:
        yield World(slack, messages)


def shared(world: World) -> list[dict[str, Any]]:
    """All files in the channel."""
    stored = world.slack.workspace.channel("data-team").messages.values()
    return [file.as_json() for message in stored for file in message.files]


async def test_file_is_posted_in_thread(world: World) -> None:
    card = await world.messages.post(world.here, CARD, mark=CARD_ID)
    await world.messages.upload(world.here, CSV, thread=card)
    (reply,) = world.slack.replies("data-team", card)
    (file,) = reply.files
    assert (file.name, file.title, file.content) == (CSV.name, CSV.title, CSV.content)
    assert tuple(request.method for request in world.slack.requests[1:]) == STEPS


async def test_file_without_thread_goes_to_channel(world: World) -> None:
    await world.messages.upload(world.here, CSV)
    assert [len(message.files) for message in world.slack.messages("data-team")] == [1]


async def test_alt_text_is_limited(world: World) -> None:
    await world.messages.upload(world.here, Upload("chart.png", "Chart", b"\x89PNG", "x" * 1_500))
    assert shared(world)[0]["alt_txt"] == "x" * 1_000


async def test_a_large_file_comes_whole(world: World) -> None:
    large = Upload("large.csv", "Large", b"x" * (5 * 1024 * 1024))
    await world.messages.upload(world.here, large)
    assert shared(world)[0]["size"] == len(large.content)


async def test_private_file_is_in_no_channel(world: World) -> None:
    file = await world.messages.upload_private(Upload("chart.png", "Chart", b"\x89PNG", "Bars"))
    stored = world.slack.workspace.files.by_id[file]
    assert (stored.title, stored.content, stored.alt_txt) == ("Chart", b"\x89PNG", "Bars")
    assert shared(world) == [] and world.slack.messages("data-team") == []


async def test_card_shows_private_file(world: World) -> None:
    file = await world.messages.upload_private(Upload("chart.png", "Chart", b"\x89PNG"))
    card = await world.messages.post(world.here, CARD, mark=CARD_ID)
    await world.messages.update(world.here, card, Message("Chart", (picture(file, "Bars"),)))
    (shown,) = world.slack.messages("data-team")
    assert shown.blocks == [{"type": "image", "slack_file": {"id": file}, "alt_text": "Bars"}]


async def test_card_with_unprocessed_file_is_refused(world: World) -> None:
    world.slack.workspace.files.processing_seconds = 60.0
    file = await world.messages.upload_private(Upload("chart.png", "Chart", b"\x89PNG"))
    card = await world.messages.post(world.here, CARD, mark=CARD_ID)
    with pytest.raises(PayloadRefused):
        await world.messages.update(world.here, card, Message("Chart", (picture(file, "Bars"),)))


# Refused


@pytest.mark.parametrize("channel", ["random", "leadership", "old-project", "ada-grace"])
async def test_upload_needs_membership(world: World, channel: str) -> None:
    with pytest.raises(NotAllowedHere):
        await world.messages.upload(world.place(channel), CSV)


@pytest.mark.parametrize("allowed", ["none", "images"])
async def test_disabled_uploads_are_not_allowed(world: World, allowed: Any) -> None:
    world.slack.workspace.files.allowed = allowed
    with pytest.raises(NotAllowedHere):
        await world.messages.upload(world.here, CSV)
    assert len(world.slack.requests) == 1


async def test_where_only_pictures_are_allowed_pictures_are(world: World) -> None:
    world.slack.workspace.files.allowed = "images"
    await world.messages.upload(world.here, Upload("chart.png", "Chart", b"\x89PNG"))
    assert len(shared(world)) == 1


async def test_without_the_scope_that_is_missing(world: World) -> None:
    world.slack.granted_scopes.discard("files:write")
    with pytest.raises(ScopeMissing):
        await world.messages.upload(world.here, CSV)


async def test_a_reply_is_no_thread(world: World) -> None:
    card = await world.messages.post(world.here, CARD, mark=CARD_ID)
    reply = await world.messages.post(world.here, CARD, mark=CARD_ID, thread=card)
    with pytest.raises(MessageGone):
        await world.messages.upload(world.here, CSV, thread=MessageTs(reply))


async def test_a_file_of_nothing_is_refused(world: World) -> None:
    with pytest.raises(PayloadRefused):
        await world.messages.upload(world.here, Upload("empty.csv", "Empty", b""))


async def test_an_uninstalled_app_is_noticed(world: World) -> None:
    world.slack.revoke_token()
    with pytest.raises(TokenRefused):
        await world.messages.upload(world.here, CSV)
    assert world.messages.refused == "token_revoked"


@pytest.mark.parametrize(
    "code, error",
    [
        ("file_uploads_disabled", NotAllowedHere),
        ("file_uploads_except_images_disabled", NotAllowedHere),
        ("file_type_not_allowed", NotAllowedHere),
        ("storage_limit_reached", NotAllowedHere),
        ("posting_to_channel_denied", NotAllowedHere),
        ("invalid_channel", NotAllowedHere),
        ("not_in_channel", NotAllowedHere),
        ("channel_not_found", NotAllowedHere),
        ("file_upload_size_restricted", PayloadRefused),
        ("snippet_too_large", PayloadRefused),
        ("alt_txt_too_large", PayloadRefused),
        ("missing_argument", PayloadRefused),
        ("file_not_found", SlackUnreachable),
        ("missing_scope", ScopeMissing),
    ],
)
def test_each_code_says_what_to_do(code: str, error: type[SlackError]) -> None:
    assert type(error_for(code, status=200, retry_after=None)) is error


# Broken off


@pytest.mark.parametrize("step", [GET_URL, SEND])
@pytest.mark.parametrize("fault", [RESET_BEFORE, RESET_AFTER, HTML_500, Fault("status", 404)])
async def test_failure_before_last_step_is_certain(world: World, step: str, fault: Fault) -> None:
    world.slack.faults.plan(fault, on=step)
    with pytest.raises(SlackUnreachable):
        await world.messages.upload(world.here, CSV)
    assert shared(world) == []
    assert len(world.slack.calls(step)) == 1, "and it is not repeated by itself"


@pytest.mark.parametrize("fault, n_files", [(RESET_BEFORE, 0), (RESET_AFTER, 1), (HTML_500, 0)])
async def test_unanswered_last_step_has_unknown_outcome(world: World, fault: Fault, n_files: int) -> None:
    world.slack.faults.plan(fault, on=COMPLETE)
    with pytest.raises(OutcomeUnknown):
        await world.messages.upload(world.here, CSV)
    assert len(shared(world)) == n_files
    assert len(world.slack.calls(COMPLETE)) == 1, "it is never repeated by itself"


@pytest.mark.parametrize("step", STEPS)
async def test_busy_slack_has_retry_after(world: World, step: str) -> None:
    world.slack.faults.plan(too_many_requests(7), on=step)
    with pytest.raises(SlackBusy) as busy:
        await world.messages.upload(world.here, CSV)
    assert busy.value.retry_after_seconds == 7.0


async def test_nobody_listening_is_certainly_not_done(world: World) -> None:
    await world.slack.close()
    with pytest.raises(SlackUnreachable):
        await world.messages.upload(world.here, CSV)


async def test_upload_follows_no_redirect(world: World) -> None:
    elsewhere = Fault("status", 307, headers=(("Location", f"{world.slack.api_url}api.test"),))
    world.slack.faults.plan(elsewhere, on=SEND)
    with pytest.raises(SlackUnreachable):
        await world.messages.upload(world.here, CSV)
    assert [request.method for request in world.slack.requests] == [GET_URL, SEND]
