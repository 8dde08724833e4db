"""Parsing of job references."""

from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.domain.errors import NotAJobReference
from bot.domain.jobs import Conversation
from bot.domain.references import is_job_request, parse_reference
from tests.support.tables import for_each

ID = "550e8400-e29b-41d4-a716-446655440000"
OTHER = "660e8400-e29b-41d4-a716-446655440001"
CHAT = f"https://acme.omniapp.co/chat/{ID}"


@for_each(
    "typed",
    [
        ID,
        ID.upper(),
        f"  {ID}\t",
        f"`{ID}`",
        f"```{ID}```",
        f"<{ID}>",
        f"<{ID}|the job>",
        f'"{ID}"',
        f"'{ID}'",
        f"“{ID}”",
        f"‘{ID}’",
        f"({ID})",
        f"[{ID}]",
        f"*{ID}*",
        f"_{ID}_",
        f"{ID}.",
        f"{ID},",
        f"`{ID}`.",
        f"\u200b{ID}\u200b",
        f"\ufeff{ID}",
        f"550e8400\u00ad-{ID[9:]}",
        f"\u2066{ID}\u2069",
        f"\n{ID}\n",
        ID.replace("-", "\u2011"),
        ID.replace("-", "\u2013"),
        ID.replace("-", "\uff0d"),
        f"«{ID}»",
        f"„{ID}“",
        f"{{{ID}}}",
        f"{ID};",
        f"{ID}:",
        f"{ID}?",
        f"~{ID}~",
        f"https://acme.omniapp.co/api/v1/ai/jobs/{ID}",
        f"https://acme.omniapp.co/api/v1/ai/jobs/{ID}/result",
        f"jobId={ID}",
        f"job: {ID}",
        f"private {ID}",
        f"{ID} private.",
        f"follow {ID} please",
        f"{ID} {ID.upper()}",
        f"urn:uuid:{ID}",
        f'{{"jobId": "{ID}", "conversationId": "{OTHER}", "omniChatUrl": "https://acme.omni.co/chat/{OTHER}"}}',
        f"https://acme.omniapp.co/dashboards/{OTHER} was made by {ID}",
    ],
)
def test_only_job_id_in_a_text_is_parsed(typed: str) -> None:
    assert parse_reference(typed) == ID


@for_each(
    "typed",
    [
        CHAT,
        f"{CHAT}/",
        f"{CHAT}.",
        f"{CHAT}?tab=chat&x=1",
        f"{CHAT}#answer",
        f"{CHAT}/?a=b#c",
        f"<{CHAT}>",
        f"<{CHAT}|my chat>",
        f"`{CHAT}`",
        CHAT.upper(),
        f"https://acme.omni.co/chat/{ID}",
        f"https://omni.acme.example:8443/chat/{ID}",
        f"https://acme.omniapp.co/embed/chat/{ID}",
        f"http://127.0.0.1:8001/chat/{ID}",
        f"http://localhost/chat/{ID}",
        f"acme.omniapp.co/chat/{ID}",
        f"<http://acme.omniapp.co/chat/{ID}|acme.omniapp.co/chat/{ID}>",
        f"chat/{ID}",
        f"{CHAT}/edit",
        f"{CHAT}?job={OTHER}",
    ],
)
def test_chat_url_is_parsed_on_any_host(typed: str) -> None:
    assert parse_reference(typed) == Conversation(ID)


@for_each(
    "typed, says",
    [
        ("", "not an Omni job id"),
        ("   ", "not an Omni job id"),
        ("<!channel>", "not an Omni job id"),
        ("1234", "not an Omni job id"),
        (ID[:-1], "not an Omni job id"),
        (f"{ID}0", "not an Omni job id"),
        (ID.replace("-", ""), "not an Omni job id"),
        (ID.replace("5", "g"), "not an Omni job id"),
        (f"{ID} {OTHER}", "One job at a time"),
        (f"{ID},{OTHER}", "One job at a time"),
        (f"{ID} in {CHAT}", "One job at a time"),
        (f"<{ID}|{OTHER}>", "One job at a time"),
        (f"jobId={ID} jobId={OTHER}", "One job at a time"),
        (f"https://acme.omniapp.co/dashboards/{ID}", "not an Omni chat"),
        ("https://acme.omniapp.co/dashboards/17", "not an Omni chat"),
        ("https://acme.omniapp.co/chat/", "not an Omni chat"),
        ("https://acme.omniapp.co/chat/17", "not an Omni chat"),
        (f"{ID}{' ' * 2_000}", "too long"),
    ],
)
def test_other_input_is_refused_with_a_reason(typed: str, says: str) -> None:
    with pytest.raises(NotAJobReference, match=says) as refusal:
        parse_reference(typed)
    assert str(refusal.value).endswith(".")


_PIECES = st.sampled_from(
    [
        ID,
        ID.upper(),
        CHAT,
        "https://",
        "/chat/",
        "<",
        ">",
        "|",
        "`",
        " ",
        "\n",
        "\u200b",
        "@",
        "?",
        "#",
        "-",
        "٣",
    ]
)


@given(st.one_of(st.text(), st.lists(st.one_of(_PIECES, st.text(max_size=3))).map("".join)))
@example("\x00")
@example("\ud800")
@example(f"<{ID}|{ID}>")
@example("https://" + "chat/" * 390)
def test_any_input_is_parsed_or_refused(typed: str) -> None:
    try:
        reference = parse_reference(typed)
    except NotAJobReference as refusal:
        assert "<" not in str(refusal) and "@" not in str(refusal), "a refusal must not repeat what was typed"
        return
    named = reference.id if isinstance(reference, Conversation) else reference
    assert str(UUID(named)) == named


@for_each(
    "text, is_request",
    [
        (ID, True),
        (f"{CHAT} private", True),
        (f"Follow job {ID}, please!", True),
        (f"<{CHAT}|my chat>", True),
        (f'{{"jobId": "{ID}"}}', True),
        (f"/omni-job {ID}", True),
        (f"Progress of job {ID}?", True),
        (f"Is {ID} done?", True),
        (f"Why did order {ID} fail?", False),
        (f"revenue of {ID}", False),
        (f"{ID} {OTHER}", True),
        ("follow", False),
    ],
)
def test_question_with_an_id_is_no_job_request(text: str, is_request: bool) -> None:
    assert is_job_request(text) is is_request


@given(st.uuids(), st.sampled_from(["{}", "`{}`", "<{}>", "<{}|x>", " {} ", "\u200b{}"]), st.booleans())
def test_every_uuid_is_a_job_id(id_: UUID, wrapped: str, upper: bool) -> None:
    typed = wrapped.format(str(id_).upper() if upper else id_)
    assert parse_reference(typed) == str(id_)
