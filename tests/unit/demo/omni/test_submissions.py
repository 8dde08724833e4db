"""Submits, cancels, and lists of models, topics and users in the simulated Omni."""

import json

import httpx
import pytest

from bot.demo.omni.lists import models_page, users_page
from bot.demo.omni.organization import ADA, GRACE, KEY_OWNER, MODEL, Refusal
from bot.demo.omni.server import CANCEL, CONCURRENT_CHANGE, SUBMIT, TAKEN_YET_504, SimulatedOmni
from bot.demo.omni.submissions import read_submission
from bot.demo.omni.timeline import Script
from tests.support.simulated_omni import ASKED, Caller

UNKNOWN = "00000000-0000-4000-8000-000000000000"

RUNNING = Script(60.0)


@pytest.fixture
def caller(omni: SimulatedOmni) -> Caller:
    """With the organisation's key."""
    return Caller(omni, omni.api_key)


@pytest.fixture
def ada(omni: SimulatedOmni) -> Caller:
    """With a personal token of Ada's, who is no admin."""
    return Caller(omni, omni.organization.personal_token(ADA))


def said(answer: httpx.Response) -> tuple[int, str]:
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["detail"]


class TestInWhoseName:
    async def test_organization_key_can_ask_as_any_user(self, omni: SimulatedOmni, caller: Caller) -> None:
        for as_user in (None, ADA, ADA.upper()):
            await caller.submit(as_user=as_user)
        assert [job.user_id for job in omni.jobs.values()] == [KEY_OWNER, ADA, ADA]

    async def test_personal_token_asks_only_as_its_user(self, omni: SimulatedOmni, ada: Caller) -> None:
        assert (await ada.submit()).status_code == 201
        assert said(await ada.submit(as_user=GRACE))[0] == 403
        assert said(await ada.submit(as_user=ADA))[0] == 403
        assert [job.user_id for job in omni.jobs.values()] == [ADA]

    @pytest.mark.parametrize("as_user, status", [(UNKNOWN, 404), ("ada@example.com", 400), (GRACE, 403)])
    async def test_unknown_and_inactive_users_cannot_ask(
        self, as_user: str, status: int, omni: SimulatedOmni, caller: Caller
    ) -> None:
        omni.organization.change_member(GRACE, is_active=False)
        assert said(await caller.submit(as_user=as_user))[0] == status
        assert omni.jobs == {}

    async def test_users_without_ai_cannot_ask(self, omni: SimulatedOmni, caller: Caller) -> None:
        omni.organization.change_member(ADA, may_use_ai=False)
        assert said(await caller.submit(as_user=ADA)) == (403, "Insufficient permissions")
        omni.organization.has_ai = False
        assert said(await caller.submit()) == (403, "Feature not enabled")


class TestWhatIsAsked:
    @pytest.mark.parametrize(
        "changed",
        [
            {"prompt": ""},
            {"prompt": None},
            {"modelId": "shop"},
            {"modelId": None},
            {"topicName": None},
            {"topicName": "t" * 257},
            {"conversationId": "chat"},
            {"conversationId": None},
            {"model": MODEL},
            {"attachments": []},
            {"webhookUrl": "https://example.com"},
            {"webhookUrl": "example.com", "webhookSigningSecret": "secret"},
            {"webhookMetadata": "text"},
            {"progressWebhookEnabled": "yes"},
            {"progressWebhookEnabled": True},
        ],
    )
    def test_undocumented_request_is_400(self, changed: dict[str, object]) -> None:
        with pytest.raises(Refusal) as refused:
            read_submission(json.dumps(ASKED | changed).encode())
        assert refused.value.status == 400

    @pytest.mark.parametrize(
        "changed",
        [
            {"topicName": "order_items"},
            {"topicName": "order_items_raw"},
            {
                "webhookUrl": "https://example.com",
                "webhookSigningSecret": "s",
                "progressWebhookEnabled": True,
            },
            {"webhookMetadata": {"channel": "C1"}, "progressWebhookEnabled": False},
        ],
    )
    def test_documented_request_is_accepted(self, changed: dict[str, object]) -> None:
        assert read_submission(json.dumps(ASKED | changed).encode()).prompt == "Why?"

    async def test_refused_request_starts_no_job(self, omni: SimulatedOmni, caller: Caller) -> None:
        assert said(await caller.submit(model=MODEL)) == (400, "Bad Request: Unrecognized key: model")
        assert omni.jobs == {}

    async def test_a_missing_field_is_named(self, omni: SimulatedOmni, caller: Caller) -> None:
        async with httpx.AsyncClient(headers=caller._headers, trust_env=False) as client:
            answer = await client.post(f"{omni.base_url}/api/v1/ai/jobs", json={"modelId": MODEL})
        assert said(answer) == (400, "Bad Request: prompt: Required")

    async def test_only_existing_shared_models_can_be_asked(
        self, omni: SimulatedOmni, caller: Caller
    ) -> None:
        schema = omni.organization.add_model("Raw", kind="SCHEMA")
        deleted = omni.organization.add_model("Old", is_deleted=True)
        for model in (schema, deleted, UNKNOWN):
            assert said(await caller.submit(modelId=model)) == (404, f"Model {model} not found")
        assert said(await caller.submit(topicName="weather"))[0] == 404
        assert said(await caller.submit(branchId=UNKNOWN))[0] == 404

    async def test_job_names_its_model(self, omni: SimulatedOmni, caller: Caller) -> None:
        finance = omni.organization.add_model("Finance", "ledger")
        begun = (await caller.submit(modelId=finance, topicName="ledger", prompt="And now?")).json()
        status = await caller.list(f"/api/v1/ai/jobs/{begun['jobId']}")
        assert (status["modelId"], status["topicName"], status["prompt"]) == (finance, "ledger", "And now?")

    async def test_conversation_runs_one_job_at_a_time(self, omni: SimulatedOmni, caller: Caller) -> None:
        chat = UNKNOWN
        assert said(await caller.submit(conversationId=chat))[0] == 404
        omni.add(Script(), conversation_id=chat)
        omni.script_for_submitted = RUNNING
        begun = (await caller.submit(conversationId=chat)).json()
        assert begun["conversationId"] == chat
        refused = await caller.submit(conversationId=chat)
        assert said(refused) == (409, "Active job exists for conversation")

    @pytest.mark.parametrize("private, status", [(False, 201), (True, 404)])
    async def test_foreign_conversation_can_be_forbidden(
        self, private: bool, status: int, omni: SimulatedOmni, caller: Caller
    ) -> None:
        omni.chats_are_private = private
        chat = omni.jobs[omni.add(Script(), user_id=ADA)].conversation_id
        assert (await caller.submit(conversationId=chat, as_user=GRACE)).status_code == status
        assert (await caller.submit(conversationId=chat, as_user=ADA)).status_code == (
            201 if private else 409
        )


class TestLostAnswers:
    async def test_gateway_can_fail_after_acceptance(self, omni: SimulatedOmni, caller: Caller) -> None:
        omni.faults.plan(TAKEN_YET_504, on=SUBMIT)
        answer = await caller.submit()
        assert (answer.status_code, answer.text[:6]) == (504, "<html>")
        assert len(omni.jobs) == 1

    async def test_a_concurrent_change_is_409_once(self, omni: SimulatedOmni, caller: Caller) -> None:
        job = omni.add(RUNNING)
        omni.faults.plan(CONCURRENT_CHANGE, on=CANCEL)
        assert said(await caller.cancel(job))[0] == 409
        assert (await caller.cancel(job)).json() == {"jobId": job, "state": "CANCELLED"}


class TestWhoMayCancel:
    async def test_owners_cancel_their_own_jobs(self, omni: SimulatedOmni, ada: Caller) -> None:
        own, others = omni.add(RUNNING, user_id=ADA), omni.add(RUNNING, user_id=GRACE)
        assert (await ada.cancel(own)).json()["state"] == "CANCELLED"
        assert said(await ada.cancel(others)) == (403, "Permission denied")
        status = await ada.list(f"/api/v1/ai/jobs/{own}")
        assert status["cancelledBy"] == ADA

    async def test_admins_cancel_every_job(self, omni: SimulatedOmni, caller: Caller) -> None:
        job = omni.add(RUNNING, user_id=GRACE)
        omni.organization.change_member(KEY_OWNER, is_admin=False)
        assert said(await caller.cancel(job))[0] == 403
        omni.organization.change_member(KEY_OWNER, is_admin=True)
        assert (await caller.cancel(job)).json()["state"] == "CANCELLED"


async def test_a_personal_token_sees_only_its_own_chats(omni: SimulatedOmni, ada: Caller) -> None:
    own = omni.jobs[omni.add(Script(), user_id=ADA)].conversation_id
    others = omni.jobs[omni.add(Script(), user_id=GRACE)].conversation_id
    assert (await ada.get(f"/api/v1/ai/conversations/{own}")).status_code == 200
    assert (await ada.get(f"/api/v1/ai/conversations/{others}")).status_code == 404


class TestModels:
    async def test_are_paged_in_requested_order(self, omni: SimulatedOmni, caller: Caller) -> None:
        for name in ("Finance", "Zoo", "Apples"):
            omni.organization.add_model(name)
        query = {"modelKind": "SHARED", "sortField": "name", "pageSize": "3"}
        first = await caller.list("/api/v1/models", **query)
        assert [record["name"] for record in first["records"]] == ["Apples", "Finance", "Shop"]
        assert first["pageInfo"]["hasNextPage"] and first["pageInfo"]["totalRecords"] == 4
        last = await caller.list("/api/v1/models", **query, cursor=first["pageInfo"]["nextCursor"])
        assert [record["name"] for record in last["records"]] == ["Zoo"]
        assert (last["pageInfo"]["hasNextPage"], last["pageInfo"]["nextCursor"]) == (False, None)

    async def test_deleted_and_other_kinds_appear_on_request(
        self, omni: SimulatedOmni, caller: Caller
    ) -> None:
        omni.organization.add_model("Old", is_deleted=True)
        omni.organization.add_model(None, kind="SCHEMA")
        everything = (await caller.list("/api/v1/models", includeDeleted="true"))["records"]
        assert [record["name"] for record in everything] == ["Shop", "Old", None]
        assert everything[1]["deletedAt"] is not None
        (shared,) = (await caller.list("/api/v1/models", modelKind="SHARED"))["records"]
        assert (shared["id"], shared["deletedAt"]) == (MODEL, None)

    @pytest.mark.parametrize(
        "query",
        [
            {"modelKind": "shared"},
            {"pageSize": "0"},
            {"pageSize": "101"},
            {"cursor": "2"},
            {"sortField": "x"},
        ],
    )
    def test_an_odd_question_is_400(self, query: dict[str, str]) -> None:
        with pytest.raises(Refusal) as refused:
            models_page([], query)
        assert refused.value.status == 400

    async def test_have_visible_and_hidden_topics(self, caller: Caller) -> None:
        body = await caller.list(f"/api/v1/models/{MODEL}/topic")
        assert body["success"]
        assert {topic["name"]: topic.get("hidden", False) for topic in body["topics"]} == {
            "order_items": False,
            "customers": False,
            "order_items_raw": True,
        }

    async def test_missing_models_have_no_topics(self, caller: Caller) -> None:
        answer = await caller.get(f"/api/v1/models/{UNKNOWN}/topic")
        assert (answer.status_code, answer.content) == (404, b"")


class TestUsers:
    async def test_are_found_by_email_in_any_case(self, omni: SimulatedOmni, caller: Caller) -> None:
        twin = omni.organization.add_member("Ada@Example.com", is_active=False)
        body = await caller.list("/api/scim/v2/Users", filter='userName eq "ADA@example.com"')
        assert [(user["id"], user["active"]) for user in body["Resources"]] == [(ADA, True), (twin, False)]
        assert (body["totalResults"], body["startIndex"], body["itemsPerPage"]) == (2, 1, 2)

    async def test_email_may_contain_escaped_characters(self, omni: SimulatedOmni, caller: Caller) -> None:
        odd = omni.organization.add_member('"a\\b"+c@example.com')
        body = await caller.list("/api/scim/v2/Users", filter=r'userName eq "\"a\\b\"+c@example.com"')
        assert [user["id"] for user in body["Resources"]] == [odd]

    async def test_come_page_by_page(self, omni: SimulatedOmni, caller: Caller) -> None:
        omni.users_per_page = 2
        first = await caller.list("/api/scim/v2/Users", count="1000")
        assert (first["totalResults"], first["itemsPerPage"]) == (3, 2)
        last = await caller.list("/api/scim/v2/Users", startIndex="3", count="2")
        assert [user["userName"] for user in last["Resources"]] == ["grace@example.com"]
        assert (await caller.list("/api/scim/v2/Users", startIndex="4"))["Resources"] == []

    async def test_an_instance_may_ignore_the_filter(self, omni: SimulatedOmni, caller: Caller) -> None:
        omni.ignores_user_filter = True
        body = await caller.list("/api/scim/v2/Users", filter='userName eq "ada@example.com"')
        assert body["totalResults"] == 3

    @pytest.mark.parametrize(
        "query",
        [{"filter": "ada@example.com"}, {"filter": 'userName eq "'}, {"count": "all"}, {"startIndex": ""}],
    )
    def test_an_odd_question_is_400(self, query: dict[str, str]) -> None:
        with pytest.raises(Refusal) as refused:
            users_page([], query, most=100, ignores_filter=True)
        assert refused.value.status == 400

    async def test_odd_question_gets_empty_response(self, caller: Caller) -> None:
        answer = await caller.get("/api/scim/v2/Users", filter="ada@example.com")
        assert (answer.status_code, answer.content) == (400, b"")

    async def test_the_path_has_one_spelling(self, omni: SimulatedOmni, caller: Caller) -> None:
        assert (await caller.get("/api/scim/v2/users")).status_code == 404
        omni.users_path = "users"
        assert (await caller.get("/api/scim/v2/users")).status_code == 200
        assert (await caller.get("/api/scim/v2/Users")).status_code == 404

    async def test_personal_tokens_and_strangers_are_refused(self, omni: SimulatedOmni, ada: Caller) -> None:
        refused = await ada.get("/api/scim/v2/Users")
        assert (refused.status_code, refused.content) == (403, b"")
        stranger = await Caller(omni, "wrong").get("/api/scim/v2/Users")
        assert (stranger.status_code, stranger.content) == (401, b"")
