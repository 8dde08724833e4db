"""Slack messages and files."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, NewType

Block = dict[str, Any]
"""One Block Kit block, as Slack's JSON."""

FileId = NewType("FileId", str)
"""A file in Slack, `F…`."""


@dataclass(frozen=True, slots=True)
class Message:
    """A Slack message: `text` for notifications and screen readers, `blocks` for display."""

    text: str = field(repr=False)
    blocks: tuple[Block, ...] = field(default=(), repr=False)

    @property
    def fingerprint(self) -> str:
        """Short hash, stored instead of the content."""
        content = json.dumps([self.text, self.blocks], sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Upload:
    """A file for a channel."""

    name: str
    """File name with extension."""
    title: str
    """Title above the file."""
    content: bytes = field(repr=False)
    """At least one byte."""
    alt: str | None = None
    """Alternative text of a picture."""

    @property
    def fingerprint(self) -> str:
        """Short hash of name and content."""
        return hashlib.blake2b(self.name.encode() + b"\0" + self.content, digest_size=12).hexdigest()
