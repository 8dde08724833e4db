"""Nothing that was asked or answered is on a card of a link-only channel, whatever a snapshot holds."""

import json
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, get_type_hints

import pytest

from bot.domain.access import ContentPolicy
from bot.domain.cards import ChannelId, ChannelRef, TeamId
from bot.domain.errors import OmniUnreachable
from bot.domain.jobs import Job, JobError, JobHistory, JobId, JobState, JobStatus, Progress
from bot.domain.messages import Message
from bot.rendering import answer
from bot.rendering import card as cards
from tests.support.golden import ASKED, CARD, MESSAGES, NOW, STATUSES, TENANT, all_messages
from tests.support.tables import for_each

MARK = "MARKED"
CHAT = "https://acme.omni.co/chat/0b9d3f3e-6c1f-4b53-9f6f-2f1f1f6a0c11"
KEPT: dict[str, Any] = {"id": CARD.job, "chat_url": CHAT, "is_redacted": False}
"""The texts of a snapshot that a link-only channel may show."""
MARKED: dict[object, Any] = {
    str: MARK,
    str | None: MARK,
    JobId: CARD.job,
    JobState: JobState.QUEUED,
    bool: False,
    datetime | None: ASKED,
    Progress | None: Progress(MARK, 3),
    JobError | None: JobError(MARK, MARK, MARK),
}
"""A value for each type of field. A new type needs one too."""


def marked(state: JobState) -> Job:
    """A snapshot with the mark in each text, also in fields that are added later."""
    hints = get_type_hints(Job)
    values: dict[str, Any] = {
        each.name: KEPT.get(each.name, MARKED.get(hints[each.name])) for each in fields(Job)
    }
    assert not [name for name, value in values.items() if value is None], "a type that MARKED lacks"
    return Job(**values | {"state": state})


@for_each("state", list(JobState))
def test_redacted_snapshot_has_no_marked_text(state: JobState) -> None:
    assert MARK in str(vars_of(marked(state)))
    assert MARK not in str(vars_of(marked(state).redacted()))


def vars_of(job: Job) -> dict[str, object]:
    return {each.name: getattr(job, each.name) for each in fields(Job)}


@for_each("state", list(JobState))
@pytest.mark.parametrize("error", [None, OmniUnreachable(MARK)])
def test_card_and_reply_hold_no_marked_text(state: JobState, error: OmniUnreachable | None) -> None:
    past = JobHistory((Progress(MARK, 1),))
    status = JobStatus(marked(state), NOW, error, ASKED if error else None, past=past).redacted()
    assert status.history.recent == (), "it would be stored with the card"
    shown: list[Message | None] = [
        *cards.render_card(CARD, status, NOW, TENANT),
        *cards.render_card(replace(CARD, cancelled_by=CARD.requester), status, NOW, TENANT),
        cards.render_completion_reply(CARD, status, TENANT),
        cards.render_unfollowed(CARD, status, TENANT),
        cards.render_paused(CARD, status, TENANT),
        cards.render_withheld(CARD, status, TENANT),
    ]
    for message in filter(None, shown):
        assert MARK not in message.text and MARK not in json.dumps(message.blocks)
        assert CHAT in message.text or CHAT in json.dumps(message.blocks)
    assert status.job is not None
    assert answer.continuation(status.job, TENANT) == answer.Continuation()


def test_link_only_card_shows_state_and_link() -> None:
    shown = {name: json.dumps(MESSAGES[f"link_only_{name}"][0].blocks) for name in ("complete", "failed")}
    assert "Answered in 1 min 12 s" in shown["complete"] and "The answer is in Omni." in shown["complete"]
    assert "after 1 min 12 s" in shown["failed"] and "The reason is in Omni." in shown["failed"]
    assert "show_data" not in shown["complete"] and "show_steps" not in shown["complete"]


HERE, ELSEWHERE = (ChannelRef(TeamId("T0"), ChannelId(name)) for name in ("C0HERE", "C0ELSEWHERE"))
DIRECT = ChannelRef(TeamId("T0"), ChannelId("D0ADA"))


@for_each(
    "policy, link_only",
    [
        (ContentPolicy(), set()),
        (ContentPolicy(link_only_channels=frozenset({HERE.id})), {HERE}),
        (ContentPolicy(is_link_only_everywhere=True), {HERE, ELSEWHERE, DIRECT}),
    ],
)
def test_policy_decides_by_channel(policy: ContentPolicy, link_only: set[ChannelRef]) -> None:
    status = STATUSES["complete"]
    for channel in (HERE, ELSEWHERE, DIRECT):
        assert policy.is_link_only(channel) == (channel in link_only)
        assert policy.visible(channel, status) == (status.redacted() if channel in link_only else status)


def test_status_has_no_field_that_redaction_overlooks() -> None:
    reduced = {"job", "past"}
    harmless = {"seen_at", "error", "failing_since", "failures", "was_seen_before", "is_missing"}
    harmless |= {"not_found_count", "not_found_since"}
    assert {each.name for each in fields(JobStatus)} == reduced | harmless, "does a new one hold content?"


def test_status_without_snapshot_stays() -> None:
    assert JobStatus(is_missing=True).redacted() == JobStatus(is_missing=True)
    assert all_messages() == MESSAGES
