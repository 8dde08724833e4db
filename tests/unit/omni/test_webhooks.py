"""Which webhooks are Omni's, and what they say: as documented, and in every form that is left open."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cards import TeamId
from bot.domain.jobs import EventKind, JobId, Progress
from bot.domain.questions import QuestionId
from bot.omni.webhooks import FRESH_SECONDS, LONGEST_PROGRESS, parse_webhook, signed_at, signing_secret

NOW = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
AT = str(int(NOW.timestamp()))
SECRET = "0123456789abcdef" * 4
JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
BODY = json.dumps(
    {
        "event_id": "evt_550e8400_COMPLETE_1706123456",
        "jobId": JOB,
        "status": "COMPLETE",
        "result_summary": "Generated revenue report showing $1.2M total revenue",
        "metadata": {},
        "completed_at": "2026-01-15T10:00:00Z",
    }
).encode()
"""As docs.omni.co has it."""


def digest(timestamp: str = AT, body: bytes = BODY, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, sha256).digest()


def signature(timestamp: str = AT, body: bytes = BODY, secret: str = SECRET) -> str:
    return f"sha256={digest(timestamp, body, secret).hex()}"


def test_what_omni_has_signed_lately_is_taken() -> None:
    assert signed_at(AT, signature(), BODY, SECRET, NOW) == NOW.timestamp()


@pytest.mark.parametrize(
    "timestamp",
    [AT, f"{AT}.5", f"{AT}000", NOW.isoformat(), "2026-01-15T10:00:00Z", "2026-01-15T11:00:00.000+01:00"],
)
def test_timestamp_forms_are_accepted(timestamp: str) -> None:
    at = signed_at(timestamp, signature(timestamp), BODY, SECRET, NOW)
    assert at == pytest.approx(NOW.timestamp(), abs=0.6)


def test_signature_encodings_are_accepted() -> None:
    for written in (digest().hex().upper(), base64.b64encode(digest()).decode()):
        assert signed_at(AT, f"sha256={written}", BODY, SECRET, NOW) is not None


@pytest.mark.parametrize("seconds, taken", [(FRESH_SECONDS, True), (FRESH_SECONDS + 1, False)])
@pytest.mark.parametrize("sign", [1, -1], ids=["old", "early"])
def test_a_signature_is_good_for_five_minutes(seconds: float, taken: bool, sign: int) -> None:
    now = NOW + timedelta(seconds=sign * seconds)
    assert (signed_at(AT, signature(), BODY, SECRET, now) is not None) is taken


@pytest.mark.parametrize(
    "timestamp", ["", "nan", "inf", "-1", "0", "yesterday", "1e400", "2026-01-15T10:00:00", "٣", "\udcff"]
)
def test_signed_invalid_timestamp_is_refused(timestamp: str) -> None:
    raw = timestamp.encode("utf-8", "surrogateescape")
    signed = hmac.new(SECRET.encode(), raw + b"." + BODY, sha256).hexdigest()
    assert signed_at(timestamp, f"sha256={signed}", BODY, SECRET, NOW) is None


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "sha256=",
        digest().hex(),
        f"sha1={digest().hex()}",
        f"sha256={digest().hex()[:-1]}",
        f"sha256={digest().hex()} ",
        f"sha256={'0' * 64}",
        "sha256=\udcff",
    ],
)
def test_a_signature_of_another_form_is_refused(forged: str) -> None:
    assert signed_at(AT, forged, BODY, SECRET, NOW) is None


@given(st.text(), st.binary(), st.text())
def test_signature_binds_secret_body_and_time(secret: str, body: bytes, timestamp: str) -> None:
    secret = secret.encode("utf-8", "ignore").decode()
    if secret != SECRET:
        assert signed_at(AT, signature(), BODY, secret, NOW) is None
    if body != BODY:
        assert signed_at(AT, signature(), body, SECRET, NOW) is None
    if timestamp != AT:
        timestamp = timestamp.encode("utf-8", "ignore").decode()
        assert timestamp == AT or signed_at(timestamp, signature(), BODY, SECRET, NOW) is None


def test_signed_parts_can_not_be_shifted() -> None:
    """The time and the body are signed as one: a piece of one must not pass for a piece of the other."""
    assert signed_at(AT[:-1], signature(), AT[-1:].encode() + b"." + BODY, SECRET, NOW) is None


def test_each_question_has_its_own_secret() -> None:
    server = b"s" * 32
    asked = [
        (TeamId("T1"), QuestionId("a")),
        (TeamId("T1"), QuestionId("b")),
        (TeamId("T2"), QuestionId("a")),
    ]
    secrets = {signing_secret(server, *each) for each in asked}
    assert len(secrets) == 3 and all(len(secret) == 64 for secret in secrets)
    assert signing_secret(server, *asked[0]) == signing_secret(server, *asked[0])
    assert signing_secret(b"t" * 32, *asked[0]) not in secrets


def test_the_documented_end_is_read() -> None:
    told = parse_webhook(BODY, 5.0)
    assert (told.event.kind, told.event.signed_at, told.event.progress) == (EventKind.ENDED, 5.0, None)
    assert (told.id, told.job) == ("evt_550e8400_COMPLETE_1706123456", JOB)


@pytest.mark.parametrize(
    "body",
    [
        {"status": "FAILED"},
        {"state": "COMPLETE"},
        {"status": "complete"},
        {"status": "CANCELLED"},
        {"status": "DENIED", "reason": "over the AI credit limit"},
        {"event": "job.denied"},
        {"type": "job.complete", "message": "Done"},
    ],
)
def test_every_end_is_told_from_all_else(body: dict[str, object]) -> None:
    assert parse_webhook(json.dumps(body).encode(), 0.0).event.kind is EventKind.ENDED


@pytest.mark.parametrize(
    "body, progress",
    [
        ({"progress": {"message": "Searching", "iteration": 2}}, Progress("Searching", 2)),
        ({"event": "job.progress", "message": "Query returned 42 rows"}, Progress("Query returned 42 rows")),
        ({"status": "EXECUTING", "message": "Searching", "iteration": 3}, Progress("Searching", 3)),
        ({"progress": {"message": "x" * 9_999, "iteration": "2"}}, Progress("x" * LONGEST_PROGRESS)),
    ],
)
def test_progress_is_read_wherever_it_stands(body: dict[str, object], progress: Progress) -> None:
    event = parse_webhook(json.dumps(body).encode(), 0.0).event
    assert (event.kind, event.progress) == (EventKind.PROGRESS, progress)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"status": "EXECUTING"}', b"\xff", b"[" * 9_999]
)
def test_an_odd_body_is_unclear(body: bytes) -> None:
    told = parse_webhook(body, 0.0)
    assert (told.event.kind, told.id, told.job) == (EventKind.UNCLEAR, None, None)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_KEYS = "event_id event type jobId status state message iteration progress".split()


@given(st.dictionaries(st.sampled_from(_KEYS), _ANYTHING) | _ANYTHING)
def test_no_body_breaks_anything(body: object) -> None:
    told = parse_webhook(json.dumps(body).encode("utf-8", "surrogatepass"), 0.0)
    assert told.event.kind in EventKind
