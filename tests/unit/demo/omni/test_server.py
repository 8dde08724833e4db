"""The simulated Omni over real sockets, compared with Omni's schema of its status body."""

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from bot.demo.faults import HTML_500, RESET_AFTER, RESET_BEFORE, Fault
from bot.demo.omni.job_data import JobData, Query
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Cancelled, Complete, Failed, Script
from bot.demo.samples import SAMPLES, sample
from tests.support.paths import DATA

DOCUMENTED = json.loads((DATA / "omni_status_states.json").read_text())
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
WHOLE = Script(2.0, ((1.0, None, 1), (3.0, "Running query", 2)), 1.0, Complete("# Answer"))


class Clock:
    """Unix seconds that only move when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Caller:
    """Somebody with the API key."""

    def __init__(self, omni: SimulatedOmni, client: httpx.AsyncClient) -> None:
        self.omni = omni
        self.client = client

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def status(self, job_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/api/v1/ai/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def cancel(self, job_id: str) -> httpx.Response:
        return await self.client.post(f"/api/v1/ai/jobs/{job_id}/cancel")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def omni(clock: Clock) -> AsyncIterator[SimulatedOmni]:
    async with SimulatedOmni(now=clock) as simulated:
        yield simulated


@pytest.fixture
async def caller(omni: SimulatedOmni) -> AsyncIterator[Caller]:
    headers = {"Authorization": f"Bearer {omni.api_key}"}
    async with httpx.AsyncClient(base_url=omni.base_url, headers=headers, trust_env=False) as client:
        yield Caller(omni, client)


class TestAJobsCourse:
    async def test_runs_through_every_state_over_time(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        seen = []
        for _ in range(9):
            seen.append((await caller.status(job))["state"])
            clock.now += 1
        assert seen == [
            *["QUEUED"] * 2,
            *["EXECUTING"] * 4,
            "DELIVERING",
            *["COMPLETE"] * 2,
        ]

    async def test_progress_is_null_until_the_first_report(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        clock.now += 2
        assert (await caller.status(job))["progress"] is None
        clock.now += 1
        assert (await caller.status(job))["progress"] == {
            "iteration": 2,
            "message": "Running query",
            "updatedAt": "2023-11-14T22:13:23.000Z",
        }

    async def test_older_job_has_advanced(self, caller: Caller) -> None:
        job = caller.omni.add(WHOLE, age_seconds=100)
        body = await caller.status(job)
        assert (body["createdAt"], body["completedAt"]) == (
            "2023-11-14T22:11:40.000Z",
            "2023-11-14T22:11:47.000Z",
        )

    async def test_an_endless_queue_stays_queued(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(Script(math.inf))
        clock.now += 1e6
        assert (await caller.status(job))["state"] == "QUEUED"

    def test_script_cannot_be_cancelled_while_delivering(self) -> None:
        with pytest.raises(ValueError, match="DELIVERING"):
            Script(delivering_seconds=1.0, end=Cancelled())


# Each of Omni's example bodies, as the job and the age at which the simulation must show the same fields.
ALIKE = {
    "queued": (Script(5.0), 1.0, None),
    "executing-null": (Script(0.0, ((5.0, None, 1),)), 1.0, None),
    "executing": (Script(0.0, ((5.0, "Running", 2),)), 1.0, None),
    "delivering": (Script(0.0, ((5.0, "Running", 2),), 5.0), 6.0, None),
    "complete": (Script(0.0, ((5.0, "Running", 2),), 1.0), 10.0, None),
    "complete-table": (Script(0.0, ((5.0, "Running", 2),), 1.0), 10.0, "order_items"),
    "complete-empty": (Script(0.0, ((5.0, "Running", 2),), end=Complete(None)), 10.0, None),
    "failed": (Script(0.0, ((5.0, "Running", 2),), end=Failed("No", "CODE", "Why")), 10.0, None),
    "failed-before-start": (Script(5.0, end=Failed("AI is not enabled")), 10.0, None),
    "cancelled": (Script(0.0, ((5.0, "Running", 2),), end=Cancelled(UNKNOWN)), 10.0, None),
    "cancelled-before-start": (Script(5.0, end=Cancelled()), 10.0, None),
}


class TestTheStatusBody:
    def test_every_documented_example_is_played(self) -> None:
        assert set(ALIKE) == set(DOCUMENTED["examples"])

    @pytest.mark.parametrize("name", sorted(ALIKE))
    async def test_has_exactly_the_documented_fields_of_its_state(self, name: str, caller: Caller) -> None:
        script, age, topic = ALIKE[name]
        job = caller.omni.add(script, age_seconds=age, topic=topic)
        body = await caller.status(job)
        documented = DOCUMENTED["examples"][name]
        assert set(body) == set(documented)
        assert body["state"] == documented["state"]
        assert set(body.get("error") or ()) == set(documented.get("error") or ())
        assert [key for key, value in body.items() if value is None and key != "modelId"] == [
            key for key in body if documented[key] is None
        ]

    @pytest.mark.parametrize("name", sorted(ALIKE))
    async def test_keeps_to_omnis_schema(self, name: str, caller: Caller) -> None:
        script, age, topic = ALIKE[name]
        body = await caller.status(caller.omni.add(script, age_seconds=age, topic=topic))
        Draft202012Validator(DOCUMENTED["schema"], format_checker=FormatChecker()).validate(body)

    async def test_can_be_bent_and_straightened(self, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        caller.omni.set(job, state="DENIED", progress=None)
        caller.omni.omit(job, "prompt", "createdAt")
        body = await caller.status(job)
        assert (body["state"], body["progress"]) == ("DENIED", None)
        assert not {"prompt", "createdAt"} & set(body)
        caller.omni.set(job, prompt="back again")
        assert (await caller.status(job))["prompt"] == "back again"
        caller.omni.restore(job)
        assert (await caller.status(job))["state"] == "QUEUED"

    async def test_can_be_arbitrary(self, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        caller.omni.raw(job, b"<html>")
        assert (await caller.get(f"/api/v1/ai/jobs/{job}")).content == b"<html>"
        caller.omni.raw(job, [1, None])
        assert (await caller.get(f"/api/v1/ai/jobs/{job}")).json() == [1, None]

    async def test_is_found_by_capitals_too(self, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        assert (await caller.status(job.upper()))["id"] == job


class TestRefusals:
    async def test_invalid_id_is_400(self, caller: Caller) -> None:
        answer = await caller.get("/api/v1/ai/jobs/42")
        assert answer.json() == {"detail": "Invalid job ID format. Must be a valid UUID.", "status": 400}
        assert answer.status_code == 400

    async def test_an_unknown_or_removed_job_is_404(self, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        caller.omni.remove(job)
        for job_id in (job, UNKNOWN):
            answer = await caller.get(f"/api/v1/ai/jobs/{job_id}")
            assert (answer.status_code, answer.json()) == (404, {"detail": "Job not found", "status": 404})

    @pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer no"}, {"Authorization": "omni_osk"}])
    async def test_without_the_key_it_is_401(self, header: dict[str, str], omni: SimulatedOmni) -> None:
        async with httpx.AsyncClient(base_url=omni.base_url, trust_env=False) as stranger:
            answer = await stranger.get(f"/api/v1/ai/jobs/{omni.add(WHOLE)}", headers=header)
        assert (answer.status_code, answer.json()["status"]) == (401, 401)

    @pytest.mark.parametrize("path", ["/api/api/v1/models", "/v1/models", "/api/v1/nothing", "/"])
    async def test_a_wrong_address_is_404_in_json(self, path: str, caller: Caller) -> None:
        answer = await caller.get(path)
        assert (answer.status_code, answer.json()["status"]) == (404, 404)
        assert caller.omni.unknown == [f"GET {path}"]

    async def test_a_wrong_method_is_405(self, caller: Caller) -> None:
        answer = await caller.client.delete(f"/api/v1/ai/jobs/{caller.omni.add(WHOLE)}")
        assert answer.status_code == 405


class TestTheLimit:
    async def test_sixty_first_request_in_a_minute_is_429(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(Script(math.inf))
        for _ in range(60):
            await caller.status(job)
        answer = await caller.get(f"/api/v1/ai/jobs/{job}")
        assert (answer.status_code, answer.json()) == (429, {"detail": "Too Many Requests", "status": 429})
        assert "Retry-After" not in answer.headers
        assert caller.omni.answered_429 == 1

    async def test_refused_requests_count_and_the_window_slides(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(Script(math.inf))
        path = f"/api/v1/ai/jobs/{job}"
        for _ in range(60):
            await caller.status(job)
        clock.now += 30
        assert (await caller.get(path)).status_code == 429
        clock.now += 30
        for _ in range(59):
            assert (await caller.get(path)).status_code == 200
        assert (await caller.get(path)).status_code == 429

    async def test_retry_after_is_sent_where_asked_for(self, caller: Caller) -> None:
        caller.omni.requests_per_minute = 0
        caller.omni.retry_after = 7
        answer = await caller.get("/api/v1/models")
        assert answer.headers["Retry-After"] == "7"

    async def test_busiest_minute_is_found(self, clock: Clock, caller: Caller) -> None:
        for pause in (0, 50, 5, 4, 1, 59):
            clock.now += pause
            await caller.get("/api/v1/models")
        # At 0, 50, 55, 59, 60 and 119 s: the first four, and again 50 to 60.
        assert caller.omni.worst_minute() == 4
        assert caller.omni.last_minute() == 2

    async def test_every_request_is_remembered_with_its_answer(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        await caller.get(f"/api/v1/ai/jobs/{job}")
        await caller.get("/api/v1/ai/jobs/42")
        assert [(r.at, r.method, r.path, r.status) for r in caller.omni.requests] == [
            (clock.now, "GET", f"/api/v1/ai/jobs/{job}", 200),
            (clock.now, "GET", "/api/v1/ai/jobs/42", 400),
        ]


class TestTrouble:
    async def test_a_planned_answer_comes_instead(self, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        caller.omni.faults.plan(HTML_500, on="GET /api/v1/ai/jobs/*")
        answer = await caller.get(f"/api/v1/ai/jobs/{job}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
        assert (await caller.status(job))["state"] == "QUEUED"

    @pytest.mark.parametrize(("fault", "state"), [(RESET_BEFORE, "QUEUED"), (RESET_AFTER, "CANCELLED")])
    async def test_a_dropped_request_had_its_effect_or_not(
        self, fault: Fault, state: str, caller: Caller
    ) -> None:
        job = caller.omni.add(WHOLE)
        caller.omni.faults.plan(fault, on="POST */cancel")
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.cancel(job)
        assert (await caller.status(job))["state"] == state
        assert caller.omni.requests[0].status is None


class TestCancelling:
    async def test_queued_job_is_cancelled_at_once(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        clock.now += 1
        answer = await caller.cancel(job)
        assert (answer.status_code, answer.json()) == (200, {"jobId": job, "state": "CANCELLED"})
        body = await caller.status(job)
        assert body["cancelledAt"] == "2023-11-14T22:13:21.000Z"
        assert body["cancelledBy"] == body["userId"]
        assert not {"executionStartedAt", "completedAt"} & set(body)

    async def test_an_executing_job_ends_after_its_step(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        clock.now += 4
        assert (await caller.cancel(job)).json()["state"] == "EXECUTING"
        clock.now += 1
        assert (await caller.status(job))["state"] == "EXECUTING"
        clock.now += 1
        body = await caller.status(job)
        assert (body["state"], body["cancelledAt"]) == ("CANCELLED", "2023-11-14T22:13:26.000Z")

    async def test_a_job_may_complete_in_spite_of_it(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(Script(0.0, ((5.0, "Running", 1),), finishes_despite_cancel=True))
        assert (await caller.cancel(job)).json()["state"] == "EXECUTING"
        clock.now += 5
        assert (await caller.status(job))["state"] == "COMPLETE"

    async def test_a_delivering_job_is_too_late(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        clock.now += 6
        answer = await caller.cancel(job)
        assert answer.status_code == 400
        assert answer.json()["detail"] == "Job is not in a cancellable state"
        clock.now += 1
        assert (await caller.status(job))["state"] == "COMPLETE"

    @pytest.mark.parametrize("script", [Script(), Script(end=Failed("No")), Script(end=Cancelled())])
    async def test_a_final_job_answers_with_its_state(self, script: Script, caller: Caller) -> None:
        job = caller.omni.add(script)
        before = await caller.status(job)
        answer = await caller.cancel(job)
        assert (answer.status_code, answer.json()["state"]) == (200, before["state"])
        assert await caller.status(job) == before

    async def test_the_first_to_cancel_is_the_one_named(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(WHOLE)
        caller.omni.cancel(job, by=UNKNOWN)
        clock.now += 1
        await caller.cancel(job)
        body = await caller.status(job)
        assert (body["cancelledBy"], body["cancelledAt"]) == (UNKNOWN, "2023-11-14T22:13:20.000Z")


class TestTheResult:
    async def test_is_one_json_document_called_octet_stream(self, caller: Caller) -> None:
        job = caller.omni.add(Script(end=Complete("# Answer")), topic="orders")
        answer = await caller.get(f"/api/v1/ai/jobs/{job}/result")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        body = answer.json()
        assert (body["message"], body["resultSummary"], body["topic"]) == ("# Answer", "# Answer", "orders")

    @pytest.mark.parametrize("script", [WHOLE, Script(end=Failed("No")), Script(end=Cancelled())])
    async def test_is_404_unless_complete(self, script: Script, caller: Caller) -> None:
        job = caller.omni.add(script)
        assert (await caller.get(f"/api/v1/ai/jobs/{job}/result")).status_code == 404
        assert (await caller.get(f"/api/v1/ai/jobs/{job}/vis")).status_code == 404

    async def test_is_gone_after_fourteen_days(self, clock: Clock, caller: Caller) -> None:
        job = caller.omni.add(Script())
        clock.now += 14 * 86_400
        assert (await caller.get(f"/api/v1/ai/jobs/{job}/result")).status_code == 200
        clock.now += 1
        assert (await caller.get(f"/api/v1/ai/jobs/{job}/result")).status_code == 404

    async def test_has_no_picture_as_a_rule(self, caller: Caller) -> None:
        answer = await caller.get(f"/api/v1/ai/jobs/{caller.omni.add(Script())}/vis")
        assert (answer.status_code, set(answer.json())) == (422, {"error"})

    async def test_has_the_queries_with_their_rows(self, caller: Caller) -> None:
        rows = Query("Top products", "a,b\n1,2", truncated=True, total_rows=48)
        job = caller.omni.add(Script(end=Complete("42")), data=JobData((rows, Query("Bad", None, "error"))))
        body = (await caller.get(f"/api/v1/ai/jobs/{job}/result")).json()
        query, bad, summary = body["actions"]
        assert (query["type"], summary["type"]) == ("generate_query", "summarize")
        assert query["result"] == {
            "queryName": "Top products",
            "status": "success",
            "query": {"table": "order_items"},
            "csvResult": "a,b\n1,2",
            "csvResultWasTruncated": True,
            "hasResults": True,
            "totalRowCount": 48,
        }
        assert (bad["result"]["status"], bad["result"]["csvResult"]) == ("error", None)

    async def test_may_come_late_and_then_be_pending(self, clock: Clock, caller: Caller) -> None:
        late = JobData((Query("Top", "a"),), PNG, ready_after_seconds=2, pending_seconds=4)
        job = caller.omni.add(Script(end=Complete("42")), data=late)
        for path in ("result", "vis"):
            assert (await caller.get(f"/api/v1/ai/jobs/{job}/{path}")).status_code == 404
        clock.now += 2
        pending = (await caller.get(f"/api/v1/ai/jobs/{job}/result")).json()["actions"][0]["result"]
        assert pending["status"] == "pending" and "csvResult" not in pending
        clock.now += 2
        there = (await caller.get(f"/api/v1/ai/jobs/{job}/result")).json()["actions"][0]["result"]
        assert (there["status"], there["csvResult"]) == ("success", "a")

    async def test_can_be_bent(self, caller: Caller) -> None:
        null = JobData(changed=(("message", None), ("actions", None)))
        body = (await caller.get(f"/api/v1/ai/jobs/{caller.omni.add(Script(), data=null)}/result")).json()
        assert (body["message"], body["actions"]) == (None, None)
        raw = caller.omni.add(Script(), data=JobData(raw=b"no JSON"))
        assert (await caller.get(f"/api/v1/ai/jobs/{raw}/result")).content == b"no JSON"

    async def test_has_picture_if_feature_is_enabled(self, caller: Caller) -> None:
        job = caller.omni.add(Script(), data=JobData(picture=PNG))
        answer = await caller.get(f"/api/v1/ai/jobs/{job}/vis")
        assert (answer.content, answer.headers["Content-Type"]) == (PNG, "image/png")
        caller.omni.draws = False
        assert (await caller.get(f"/api/v1/ai/jobs/{job}/vis")).status_code == 404


class TestConversations:
    async def test_the_assistants_turns_name_their_jobs(self, caller: Caller) -> None:
        chat = UNKNOWN
        old = caller.omni.add(Script(end=Complete("One")), conversation_id=chat, age_seconds=60)
        new = caller.omni.add(Script(end=Failed("No")), conversation_id=chat)
        body = (await caller.get(f"/api/v1/ai/conversations/{chat}")).json()
        assert [(m["role"], m.get("jobId")) for m in body["messages"]] == [
            ("user", None),
            ("assistant", old),
            ("user", None),
            ("assistant", new),
        ]

    @pytest.mark.parametrize("shown", [False, True])
    async def test_running_job_has_turn_only_if_enabled(self, shown: bool, caller: Caller) -> None:
        caller.omni.running_jobs_in_chats = shown
        job = caller.omni.add(WHOLE, conversation_id=UNKNOWN)
        body = (await caller.get(f"/api/v1/ai/conversations/{UNKNOWN}")).json()
        assert [m.get("jobId") for m in body["messages"]] == ([None, job] if shown else [None])

    async def test_unknown_is_404_and_invalid_is_400(self, caller: Caller) -> None:
        assert (await caller.get(f"/api/v1/ai/conversations/{UNKNOWN}")).status_code == 404
        assert (await caller.get("/api/v1/ai/conversations/42")).status_code == 400

    async def test_chat_page_costs_no_api_request(self, caller: Caller) -> None:
        url = (await caller.status(caller.omni.add(WHOLE)))["omniChatUrl"]
        async with httpx.AsyncClient(trust_env=False) as browser:
            page = await browser.get(url)
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert len(caller.omni.requests) == 1


class TestSubmitting:
    async def test_a_job_is_created_and_runs(self, clock: Clock, caller: Caller) -> None:
        model = (await caller.get("/api/v1/models?modelKind=SHARED")).json()["records"][0]["id"]
        answer = await caller.client.post("/api/v1/ai/jobs", json={"modelId": model, "prompt": "Why?"})
        assert answer.status_code == 201
        body = answer.json()
        assert set(body) == {"jobId", "conversationId", "omniChatUrl"}
        clock.now += 60
        status = await caller.status(body["jobId"])
        assert (status["state"], status["prompt"]) == ("COMPLETE", "Why?")

    async def test_second_job_in_busy_conversation_is_409(self, clock: Clock, caller: Caller) -> None:
        caller.omni.add(WHOLE, conversation_id=UNKNOWN)
        model = (await caller.get("/api/v1/models")).json()["records"][0]["id"]
        asked = {"modelId": model, "prompt": "And?", "conversationId": UNKNOWN}
        assert (await caller.client.post("/api/v1/ai/jobs", json=asked)).status_code == 409
        clock.now += 60
        assert (await caller.client.post("/api/v1/ai/jobs", json=asked)).status_code == 201

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"{", 400),
            (b"[]", 400),
            (b'{"modelId": "770e8400-e29b-41d4-a716-446655440002", "prompt": ""}', 400),
            (b'{"modelId": "shop", "prompt": "Why?"}', 400),
            (b'{"modelId": "00000000-0000-4000-8000-000000000000", "prompt": "Why?"}', 404),
        ],
    )
    async def test_a_bad_one_is_refused(self, body: bytes, status: int, caller: Caller) -> None:
        answer = await caller.client.post("/api/v1/ai/jobs", content=body)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert caller.omni.jobs == {}


class TestTheSamples:
    @pytest.mark.parametrize("key", [sample.key for sample in SAMPLES])
    async def test_each_can_be_started(self, key: str, caller: Caller) -> None:
        chosen = sample(key)
        answer = await caller.get(f"/api/v1/ai/jobs/{chosen.start(caller.omni)}")
        assert answer.status_code == (404 if chosen.script is None else 200)

    async def test_they_end_in_every_way_a_job_can(self, clock: Clock, caller: Caller) -> None:
        jobs = {s.key: s.start(caller.omni) for s in SAMPLES if s.script and s.group == "course"}
        clock.now += 61
        ends = {key: (await caller.status(job))["state"] for key, job in jobs.items()}
        assert ends == {
            "quick": "COMPLETE",
            "slow": "COMPLETE",
            "failing": "FAILED",
            "cancelled": "CANCELLED",
            "queued": "QUEUED",
            "finished": "COMPLETE",
            "result": "COMPLETE",
            "endless": "EXECUTING",
            "announced": "FAILED",
        }

    async def test_the_one_that_never_ends_can_be_cancelled(self, clock: Clock, caller: Caller) -> None:
        job = sample("endless").start(caller.omni)
        clock.now += 60
        caller.omni.cancel(job)
        clock.now += 10
        assert (await caller.status(job))["state"] == "CANCELLED"

    @pytest.mark.parametrize("key", [sample.key for sample in SAMPLES if sample.group == "answer"])
    async def test_answers_appear_soon(self, key: str, clock: Clock, caller: Caller) -> None:
        job = sample(key).start(caller.omni)
        clock.now += 5
        assert (await caller.status(job))["resultSummary"]

    async def test_one_has_found_rows_and_a_picture(self, clock: Clock, caller: Caller) -> None:
        job = sample("chart").start(caller.omni)
        clock.now += 5
        result = await caller.get(f"/api/v1/ai/jobs/{job}/result")
        assert "2026-04,412300" in result.text
        picture = await caller.get(f"/api/v1/ai/jobs/{job}/vis")
        assert (picture.headers["Content-Type"], picture.content[:4]) == ("image/png", b"\x89PNG")
