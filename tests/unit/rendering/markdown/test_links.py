"""Only addresses of the configured Omni become links."""

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
    ],
)
def test_own_chats_are_linked(chat_url: str, link: str) -> None:
    assert chat_link(chat_url, TENANT) == link


@for_each(
    "chat_url",
    [
        None,
        "",
        "https://evil.example/chat/1",
        "https://other.omni.co/chat/1",
        "https://acme.evil.omni.co/chat/1",
        "https://acme.omni.co.evil.example/chat/1",
        "https://omni.co/chat/1",
        "http://acme.omniapp.co/chat/1",
        "https://acme.omniapp.co:8443/chat/1",
        "https://acme.omni.co:8443/chat/1",
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
def test_other_addresses_are_not_linked(chat_url: str | None) -> None:
    assert chat_link(chat_url, TENANT) is None


def test_custom_domain_is_linked_only_there() -> None:
    assert chat_link("https://omni.acme.example/chat/1", "https://omni.acme.example") is not None
    assert chat_link("https://acme.omni.co/chat/1", "https://omni.acme.example") is None


def test_custom_port_is_linked_only_there() -> None:
    assert chat_link("https://omni.acme.example:8443/chat/1", "https://omni.acme.example:8443") is not None
    assert chat_link("https://omni.acme.example/chat/1", "https://omni.acme.example:8443") is None


def test_http_is_enough_on_loopback() -> None:
    assert (
        chat_link("http://127.0.0.1:8123/chat/1", "http://127.0.0.1:8001") == "http://127.0.0.1:8123/chat/1"
    )
    assert chat_link("http://evil.example/chat/1", "http://127.0.0.1:8001") is None
