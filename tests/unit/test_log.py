"""The log has one line per event and no secrets."""

import json
import subprocess
import sys
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.log import LINES_PER_MINUTE, Redaction
from tests.support.paths import ROOT
from tests.support.tables import for_each

TOKENS = [
    "xoxb-1111-2222-SECRETpart",
    "xoxp-1111-SECRETpart",
    "xapp-1-A0B1-2222-SECRETpart",
    "xoxe-1-SECRETpart",
    "xoxe.xoxp-1-SECRETpart",
    "omni_osk_SECRETpart",
    "wss://wss.slack.com/link/?ticket=SECRETpart&app_id=1",
    "Authorization: Bearer SECRETpart.with.dots",
    "authorization=bearer SECRETpart",
    "postgresql://bot:SECRETpart@db.example.com/omni",
    "postgres://:SECRET:part@db/omni",
    "host=db user=bot password=SECRETpart dbname=omni",
    "host=db password='SECRET part' dbname=omni",
    "https://hooks.slack.com/commands/T0/1/SECRETpart",
]
KNOWN = ["0123456789abcdef0123456789abcdef", "p@ss/word", "p@ss/word and more", "p%40ss%2Fword"]


def redacted(**event: object) -> str:
    return repr(Redaction()(None, "info", dict(event)))


@for_each("token", TOKENS)
@for_each(
    "around", ["{}", "a {} b", '"{}"', "'{}'", "key={}", "<{}>", "a_{}", "{}\n", "https://x/{}?y", "\u200b{}"]
)
def test_token_is_redacted_in_any_context(token: str, around: str) -> None:
    shown = redacted(event=around.format(token))
    assert "SECRET" not in shown and "[redacted]" in shown


@for_each("token", TOKENS)
def test_token_is_redacted_in_any_value(token: str) -> None:
    error = LookupError(f"no such key: {token}")
    shown = redacted(
        event="trouble",
        error=error,
        group=ExceptionGroup("several", [error]),
        list=[token],
        dict={"headers": {"x": token}},
        tuple=(1, token),
        bytes=token.encode(),
    )
    assert "SECRET" not in shown


@given(st.text(), st.sampled_from(TOKENS[:6]), st.text(st.characters(categories=["Zs", "Po", "Sm"])))
def test_token_is_redacted_in_random_text(before: str, token: str, after: str) -> None:
    assert "SECRETpart" not in redacted(event=f"{before}{token}{after}")


def test_other_values_stay() -> None:
    event = {
        "event": "job state",
        "job": "550e8400-e29b-41d4-a716-446655440000",
        "n": 3,
        "s": 1.5,
        "ok": True,
    }
    assert Redaction(KNOWN)(None, "info", dict(event | {"none": None})) == event | {"none": None}


@for_each("secret", KNOWN)
def test_known_secret_is_redacted(secret: str) -> None:
    error = LookupError(f"said {secret}!")
    event = {"event": f"a{secret}b", "error": error, "nested": {"deep": [secret]}}
    assert secret not in repr(Redaction(KNOWN)(None, "info", event))


@for_each("key", ["event", "state", "exception"])
def test_values_are_escaped_and_cut(key: str) -> None:
    event = Redaction()(None, "info", {key: "\x1b[2J\r\x9b\u2028 Grüße\n" + "x" * 2_000_000})
    assert event[key].startswith(r"\x1b[2J\r\x9b\u2028 Grüße" + "\n")
    assert len(event[key]) < 21_000


def test_overlapping_secrets_are_redacted() -> None:
    shown = Redaction(KNOWN)(None, "info", {"event": "p@ss/word and more"})
    assert shown == {"event": "[redacted]"}


def test_short_secrets_are_ignored() -> None:
    assert Redaction(["", "job"])(None, "info", {"event": "job state"}) == {"event": "job state"}


def test_url_without_password_stays() -> None:
    address = "https://acme.omniapp.co:8443/chat/1?at=10:00 mailto:ada@example.com"
    assert Redaction()(None, "info", {"event": address}) == {"event": address}


SCRIPT = """
import logging, sys
import structlog
from bot import log as bot_log
from bot.domain import ChannelRef

level, style = sys.argv[1].split("/")
bot_log.configure(level, style, ["a known SECRET"])
log = structlog.get_logger("bot.script")
if sys.argv[2:]:
    bot_log.audit(bot_log.Act.ASK, "U0ADA", ChannelRef("T0", "C0"), "begun", job="550e")
log.debug("a debug event")
log.info("an event", job="550e", text="two words", n=3, ok=True, nothing=None)
log.warning("line\\nbreak", state="X\\nlevel=critical")
log.error("token xoxb-1-SECRET", error=LookupError("xapp-1-SECRET"), nested=[{"k": "omni_osk_SECRET"}])
try:
    raise RuntimeError("Bearer SECRET.token")
except RuntimeError:
    log.exception("broke")
logging.getLogger("slack_bolt").info("a library's info")
logging.getLogger("slack_bolt").warning("a library's warning about %s", "xoxb-2-SECRET")
try:
    raise RuntimeError("ticket=SECRET")
except RuntimeError:
    logging.getLogger("slack_sdk").exception("a library broke")
log.info("half a character \\ud83d")
log.info("said", what="a known SECRET")
log.info("the end")
"""


FLOOD = """
import logging, sys
import structlog
from bot import log as bot_log
from bot.domain import ChannelRef

level, style = sys.argv[1].split("/")
bot_log.configure(level, style)
clock = [0.0]
bot_log.monotonic = lambda: clock[0]
log = structlog.get_logger("bot.script")

def flood():
    for _ in range(100):
        log.warning("refused")
        log.error("other")
        logging.getLogger("asyncio").error("too many open files")
        bot_log.audit(bot_log.Act.ASK, "U0ADA", ChannelRef("T0", "C0"), "begun")
        log.info("posted")

flood()
clock[0] = 59.9
flood()
clock[0] = 60.1
flood()
"""


@cache
def lines(level: str, *more: str, style: str = "text", script: str = SCRIPT) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script, f"{level}/{style}", *more],
        capture_output=True,
        cwd=ROOT,
        timeout=30,
        check=True,
        env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
    )
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


def test_every_event_is_one_line() -> None:
    written = lines("info")
    assert not [line for line in written if not line.startswith("timestamp=")]
    assert "SECRET" not in "\n".join(written)
    levels = [line.split(" ")[1].removeprefix("level=") for line in written]
    assert levels == ["info", "warning", "error", "error", "warning", "error", "info", "info", "info"]
    assert "two words" in written[0] and "n=3" in written[0] and "ok=true" in written[0]
    assert "RuntimeError" in written[3] and "library" in written[4]


def test_level_applies_to_own_events() -> None:
    assert "a debug event" in lines("debug")[0]
    assert "a library's info" not in "".join(lines("debug"))
    assert len(lines("warning")) == len(lines("info")) - 4
    assert len(lines("error")) == len(lines("info")) - 5


@for_each("level", ["info", "error"])
def test_audit_is_written_at_any_level(level: str) -> None:
    (line,) = [line for line in lines(level, "with an act") if "event=audit" in line]
    assert line.endswith("event=audit job=550e act=ask user=U0ADA team=T0 channel=C0 outcome=begun")


def test_json_events_are_objects_in_utc() -> None:
    written: list[dict[str, Any]] = [json.loads(line) for line in lines("info", style="json")]
    assert "SECRET" not in repr(written)
    assert all(event["timestamp"].endswith("Z") for event in written)
    first, broke = written[0], written[3]
    assert (first["event"], first["level"], first["n"], first["ok"], first["nothing"]) == (
        "an event",
        "info",
        3,
        True,
        None,
    )
    assert "RuntimeError" in broke["exception"]


def test_both_formats_have_the_same_events() -> None:
    assert [json.loads(line)["event"] for line in lines("info", style="json")][:2] == [
        "an event",
        "line\nbreak",
    ]
    assert len(lines("debug", style="json")) == len(lines("debug"))


def test_repeated_warning_is_written_only_so_often() -> None:
    written: list[dict[str, Any]] = [json.loads(line) for line in lines("info", style="json", script=FLOOD)]
    for event in ("refused", "other", "too many open files"):
        of_event = [line for line in written if line["event"] == event]
        assert len(of_event) == 2 * LINES_PER_MINUTE
        ended, begun = of_event[LINES_PER_MINUTE - 1 : LINES_PER_MINUTE + 1]
        assert ended["more_left_out"] is True
        assert begun["left_out"] == 200 - LINES_PER_MINUTE
        assert [line for line in of_event if "left_out" in line] == [begun]


def test_info_and_audit_are_never_dropped() -> None:
    written = lines("info", script=FLOOD)
    assert sum("event=posted" in line for line in written) == 300
    assert sum("event=audit" in line for line in written) == 300
