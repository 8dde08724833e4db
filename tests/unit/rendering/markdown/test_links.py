"""Every well-formed https address of a chat becomes a link, and no link in an answer poses as another."""

from bot.rendering.markdown.document import Code, Link, Styled, Text, words
from bot.rendering.markdown.links import LONGEST_ADDRESS, chat_link, safe_link
from tests.support.tables import for_each

CHAT = "/chat/0b9d3f3e-6c1f-4b53-9f6f-2f1f1f6a0c11"
TENANT = "https://acme.omniapp.co"


@for_each(
    "chat_url, link",
    [
        (f"https://acme.omniapp.co{CHAT}", f"https://acme.omniapp.co{CHAT}"),
        (f"https://acme.omni.co{CHAT}", f"https://acme.omni.co{CHAT}"),
        (f"https://ACME.omni.co{CHAT}", f"https://acme.omni.co{CHAT}"),
        (f"https://acme.omniapp.co:443{CHAT}", f"https://acme.omniapp.co:443{CHAT}"),
        (f"https://acme.omni.co{CHAT}?token=1#here", f"https://acme.omni.co{CHAT}"),
        (CHAT, f"https://acme.omniapp.co{CHAT}"),
        (f"https://acme.eu.omni.co{CHAT}", f"https://acme.eu.omni.co{CHAT}"),
        (f"https://bi.acme.com:8443{CHAT}", f"https://bi.acme.com:8443{CHAT}"),
    ],
)
def test_https_chats_are_linked_on_any_host(chat_url: str, link: str) -> None:
    assert chat_link(chat_url, TENANT) == link


@for_each(
    "chat_url",
    [
        None,
        "",
        "http://acme.omniapp.co/chat/1",
        "https://user:pass@acme.omniapp.co/chat/1",
        "https://acme.omniapp.co@evil.example/chat/1",
        "https://acme.omniapp.co\\@evil.example/chat/1",
        "//evil.example/chat/1",
        "/chat/../../x",
        "/other/1",
        "javascript:alert(1)",
        "https://acme.omniapp.co/chat/1|click>",
        "https://acme.omniapp.co/chat/<!channel>",
        "https://acme.omniapp.co/chat/1 2",
        "https://acme.omniapp.co/chat/\u202e1",
        "https://acme.omniapp.co:99999/chat/1",
        "https://[::1/chat/1",
        "https://acme.omniapp.co/" + "a" * 3_000,
    ],
)
def test_malformed_addresses_are_not_linked(chat_url: str | None) -> None:
    assert chat_link(chat_url, TENANT) is None


def test_http_is_enough_on_loopback() -> None:
    assert (
        chat_link("http://127.0.0.1:8123/chat/1", "http://127.0.0.1:8001") == "http://127.0.0.1:8123/chat/1"
    )
    assert chat_link("http://evil.example/chat/1", "http://127.0.0.1:8001") is None


@for_each(
    "said, address, shown",
    [
        ("the report", "https://evil.example/x", "the report"),
        ("https://acme.omniapp.co/login", "https://evil.example/login", "https://acme.omniapp.co/login (evil.example)"),
        ("acme.omniapp.co", "https://evil.example", "acme.omniapp.co (evil.example)"),
        ("Sign in at ACME.omniapp.co now", "https://evil.example", "Sign in at ACME.omniapp.co now (evil.example)"),
        ("ａｃｍｅ.omniapp.co", "https://evil.example", "ａｃｍｅ.omniapp.co (evil.example)"),
        ("Open in Omni", "https://evil.example/x", "Open in Omni (evil.example)"),
        ("→ ask a Follow-up!", "https://evil.example/x", "→ ask a Follow-up! (evil.example)"),
        ("ada@acme.com", "mailto:eve@evil.example", "ada@acme.com (eve@evil.example)"),
        ("https://a.co@evil.example/", "https://a.co@evil.example/", "https://a.co@evil.example/ (evil.example)"),
        ("10.0.0.1", "https://10.0.0.2", "10.0.0.1 (10.0.0.2)"),
        ("https://bücher.example", "https://xn--bcher-kva.example", "https://bücher.example (xn--bcher-kva.example)"),
        ("www.evil.example", "https://evil.example/x", "www.evil.example"),
        ("https://evil.example/a.b.com", "https://evil.example/a.b.com", "https://evil.example/a.b.com"),
        ("eve@evil.example", "mailto:eve@evil.example?subject=x", "eve@evil.example"),
        ("report.csv", "https://acme.omniapp.co/w/1", "report.csv"),
        ("", "https://evil.example", "https://evil.example"),
    ],
)  # fmt: skip
def test_words_that_pose_as_another_address_show_the_host(said: str, address: str, shown: str) -> None:
    (link,) = safe_link(address, (Text(said),) if said else (), TENANT)
    assert isinstance(link, Link) and link.address == address
    assert words(link.content) == shown


@for_each(
    "address",
    [
        *(
            "javascript:alert(1)",
            "slack://open",
            "data:text/html,x",
            "file:///etc/passwd",
            "//evil.example",
            "#x",
            "",
        ),
        *("https://", "https://a b", "https://a|b", "http://[", "mailto:", "tel:1", "/no-tenant", "x" * 9),
        "https://a.b/" + "x" * LONGEST_ADDRESS,
    ],
)
def test_other_addresses_leave_only_words(address: str) -> None:
    assert safe_link(address, (Text("words"),), "") == (Text("words"),)


def test_long_words_are_not_linked() -> None:
    assert safe_link("https://a.b", (Text("w " * 400),), "") == (Text("w " * 400),)


def test_link_has_no_link_inside() -> None:
    inside = (Styled("bold", (Link("https://a.b", (Text("x"),)), Code("y"))),)
    assert safe_link("https://c.d", inside, "") == (
        Link("https://c.d", (Styled("bold", (Text("x"), Code("y"))),)),
    )
