"""Requests of the bot and responses of the simulated Omni match Omni's OpenAPI schema."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from bot.demo.omni.lists import models_page, users_page
from bot.demo.omni.organization import ADA, MODEL, Organization, Refusal
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.submissions import read_submission
from bot.demo.omni.timeline import Script
from bot.domain.questions import ModelId, OmniUserId, Question
from bot.omni.ask_schemas import submit_body
from bot.omni.schemas import whole_text
from tests.support.paths import DATA
from tests.support.simulated_omni import Caller

SCHEMAS = json.loads((DATA / "omni_asking_schemas.json").read_text())["$defs"]
CHAT = "660e8400-e29b-41d4-a716-446655440001"


def validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/$defs/{name}", "$defs": SCHEMAS}
    return Draft202012Validator(schema, format_checker=FormatChecker())


_texts = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=256)


@given(
    st.builds(
        Question,
        prompt=_texts,
        model=st.just(ModelId(MODEL)),
        topic=st.none() | _texts,
        conversation=st.sampled_from([None, CHAT]),
        as_user=st.sampled_from([None, OmniUserId(ADA)]),
    )
)
@example(Question("cut \ud83d", ModelId(MODEL), topic="cut \ud83d"))
def test_requests_match_omnis_schema(question: Question) -> None:
    body = json.loads(json.dumps(submit_body(question)).encode())
    validator("AiJobSubmitBody").validate(body)
    assert set(body) <= set(SCHEMAS["AiJobSubmitBody"]["properties"])
    asked = read_submission(json.dumps(body).encode())
    assert (asked.model_id, asked.conversation_id) == (question.model, question.conversation)
    asked.prompt.encode("utf-8")
    assert asked.prompt == whole_text(question.prompt)


_VALUES: list[object] = [
    *[
        None,
        True,
        False,
        17,
        "",
        "Why?",
        MODEL,
        CHAT.upper(),
        "https://example.com/hook",
        "t" * 256,
        "t" * 257,
    ],
    *[{}, {"a": 1}, [], [1]],
]


@pytest.mark.parametrize("field", SCHEMAS["AiJobSubmitBody"]["properties"])
def test_requests_against_the_schema_are_refused(field: str) -> None:
    taken = 0
    for value in _VALUES:
        body = {"modelId": MODEL, "prompt": "Why?", field: value}
        is_valid = validator("AiJobSubmitBody").is_valid(body)
        try:
            read_submission(json.dumps(body).encode())
        except Refusal as refused:
            assert is_valid or refused.status == 400
        else:
            assert is_valid
            taken += 1
    # A branch is none that is known, and a webhook without its secret is refused by the prose.
    assert taken > 0 or field in ("branchId", "webhookUrl")


@pytest.mark.parametrize(
    "query", [{}, {"modelKind": "SHARED", "pageSize": "1"}, {"pageSize": "1", "cursor": "after-1"}]
)
def test_models_page_matches_schema(query: Mapping[str, str]) -> None:
    organization = Organization()
    organization.add_model(None, is_deleted=True)
    page = models_page(organization.models.values(), {**query, "includeDeleted": "1"})
    assert page["records"]
    validator("ModelsListResponse").validate(page)


def test_users_page_matches_schema() -> None:
    page = users_page(Organization().members.values(), {}, most=100, ignores_filter=False)
    assert page["Resources"]
    validator("ScimUsersListResponse").validate(page)


async def test_submit_cancel_and_errors_match_schema() -> None:
    async with SimulatedOmni() as omni:
        caller = Caller(omni, omni.api_key)
        submitted = await caller.submit()
        cancelled = await caller.cancel(omni.add(Script()))
        refused = await caller.submit(prompt="")
    validator("AiJobSubmitResponse").validate(submitted.json())
    validator("AiJobCancelResponse").validate(cancelled.json())
    validator("ApiError400").validate(refused.json())
