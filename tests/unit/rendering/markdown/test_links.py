"""Every well-formed https address of a chat becomes a link."""

from bot.rendering.markdown.sanitize import chat_link
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
