"""Messages and files as Slack shows them."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

Block = dict[str, Any]
"""One Block Kit block, as Slack's JSON."""


@dataclass(frozen=True, slots=True)
class Message:
    """What Slack is to show: `text` is what notifications and screen readers read, `blocks` what eyes see."""

    text: str = field(repr=False)
    blocks: tuple[Block, ...] = field(default=(), repr=False)

    @property
    def fingerprint(self) -> str:
        """Equal for messages that look the same; short enough to store."""
        content = json.dumps([self.text, self.blocks], sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Upload:
    """A file for a conversation."""

    name: str
    """The file's name, with its ending."""
    title: str
    """What stands above it."""
    content: bytes = field(repr=False)
    """At least one byte."""
    alt: str | None = None
    """What a picture shows, for people who can't see it."""

    @property
    def fingerprint(self) -> str:
        """Equal for files of the same name and content."""
        return hashlib.blake2b(self.name.encode() + b"\0" + self.content, digest_size=12).hexdigest()
