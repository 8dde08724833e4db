"""The log: one line per event, and no token in any of them."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.logs import redact

asyncio.set_event_loop(None)  # as in tests/demo/conftest.py

ROOT = Path(__file__).parents[1]
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
]


def redacted(**event: object) -> str:
    return repr(redact(None, "info", dict(event)))


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "around", ["{}", "a {} b", '"{}"', "'{}'", "key={}", "<{}>", "a_{}", "{}\n", "https://x/{}?y", "\u200b{}"]
)
def test_a_token_is_blanked_out_wherever_it_stands(token: str, around: str) -> None:
    shown = redacted(event=around.format(token))
    assert "SECRET" not in shown and "[redacted]" in shown


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_blanked_out_inside_anything_that_is_logged(token: str) -> None:
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
def test_a_token_is_blanked_out_between_any_other_text(before: str, token: str, after: str) -> None:
    assert "SECRETpart" not in redacted(event=f"{before}{token}{after}")


def test_what_is_no_token_stays_as_it_is() -> None:
    event = {
        "event": "job state",
        "job": "550e8400-e29b-41d4-a716-446655440000",
        "n": 3,
        "s": 1.5,
        "ok": True,
    }
    assert redact(None, "info", dict(event | {"none": None})) == event | {"none": None}


SCRIPT = """
import logging, sys
import structlog
from bot import audit, logs
from bot.watch import Place

logs.configure(sys.argv[1])
log = structlog.get_logger("bot.script")
if sys.argv[2:]:
    audit.record(audit.Act.ASK, "U0ADA", Place("T0", "C0"), "begun", job="550e")
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
log.info("the end")
"""


def lines(level: str, *more: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, level, *more],
        capture_output=True,
        cwd=ROOT,
        timeout=30,
        check=True,
        env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
    )
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


def test_every_event_is_one_line_without_a_token() -> None:
    written = lines("info")
    assert not [line for line in written if not line.startswith("timestamp=")]
    assert "SECRET" not in "\n".join(written)
    levels = [line.split(" ")[1].removeprefix("level=") for line in written]
    assert levels == ["info", "warning", "error", "error", "warning", "error", "info", "info"]
    assert "two words" in written[0] and "n=3" in written[0] and "ok=true" in written[0]
    assert "RuntimeError" in written[3] and "library" in written[4]


def test_the_level_is_for_our_own_events_only() -> None:
    assert "a debug event" in lines("debug")[0]
    assert "a library's info" not in "".join(lines("debug"))
    assert len(lines("warning")) == len(lines("info")) - 3
    assert len(lines("error")) == len(lines("info")) - 4


@pytest.mark.parametrize("level", ["info", "error"])
def test_the_audit_trail_is_written_whatever_else_is_left_out(level: str) -> None:
    (line,) = [line for line in lines(level, "with an act") if "event=audit" in line]
    assert line.endswith("event=audit act=ask user=U0ADA team=T0 channel=C0 job=550e outcome=begun")
