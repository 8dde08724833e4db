"""Files in the simulated workspace, from the promise of an upload to the file in a conversation. No I/O."""

import math
import mimetypes
import secrets
import struct
from dataclasses import dataclass
from typing import Any, Literal

_PREVIEW_BYTES = 2_000
_PNG = b"\x89PNG\r\n\x1a\n"

Uploads = Literal["all", "images", "none"]
"""Upload policy of the workspace's admins."""


@dataclass(slots=True)
class StoredFile:
    """A file as Slack keeps it.

    A message shares it under `files`, as a list of `as_json()`. The page draws it by `url_private`, which this
    simulator serves to every client: an image by `<img src=url_private alt=alt_txt>`, anything else by its title, name
    and size with a link to `url_private`.
    """

    id: str
    """`F…`."""
    name: str
    """The file's name, with its ending."""
    length: int
    """Bytes, as announced."""
    alt_txt: str | None = None
    """For people who can't see the image."""
    title: str = ""
    content: bytes | None = None
    """None until it was uploaded."""
    url_private: str = ""
    usable_at: float = math.inf
    """From when an image block may show it, by Slack's clock."""

    is_deleted: bool = False
    """Messages then show in its place that it was deleted."""

    @property
    def mimetype(self) -> str:
        """By the name's ending, as Slack guesses it."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    @property
    def is_for_blocks(self) -> bool:
        """Whether an image block may show a file of this type.

        Source: docs.slack.dev/reference/block-kit/composition-objects/slack-file-object.
        """
        return self.mimetype in ("image/png", "image/jpeg", "image/gif")

    @property
    def is_image(self) -> bool:
        """Whether Slack shows it as a picture."""
        return self.mimetype.startswith("image/")

    def as_json(self) -> dict[str, Any]:
        """The file as messages and the page's events show it, under Slack's own names."""
        if self.is_deleted:
            return {"id": self.id, "mode": "tombstone"}
        shown: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "title": self.title or self.name,
            "mimetype": self.mimetype,
            "filetype": self.name.rpartition(".")[2].lower(),
            "size": self.length,
            "url_private": self.url_private,
        }
        if self.alt_txt:
            shown["alt_txt"] = self.alt_txt
        return shown | self._preview() | self._dimensions()

    def _preview(self) -> dict[str, Any]:
        """The whole lines at the beginning of a text, and how many follow."""
        if self.content is None or not self.mimetype.startswith("text/"):
            return {}
        text = self.content.decode("utf-8", "replace").removeprefix("\ufeff")
        beginning = text[:_PREVIEW_BYTES]
        if len(beginning) < len(text):
            beginning = beginning.rpartition("\n")[0] or beginning
        rest = text[len(beginning) :].strip("\r\n")
        return {"preview": beginning, "lines_more": len(rest.splitlines())}

    def _dimensions(self) -> dict[str, Any]:
        """A PNG's width and height, in pixels."""
        if self.content is None or not self.content.startswith(_PNG) or len(self.content) < 24:
            return {}
        width, height = struct.unpack(">II", self.content[16:24])
        return {"original_w": width, "original_h": height}


class Files:
    """The files of a workspace."""

    def __init__(self) -> None:
        self.allowed: Uploads = "all"
        self.processing_seconds = 0.0
        """For so long after its upload a file can't be shown by a block: Slack scans it first, for about a second
        (slackapi/python-slack-sdk#1521), sometimes longer. Infinite: for ever."""
        self.by_id: dict[str, StoredFile] = {}
        self._promised: dict[str, StoredFile] = {}

    def promise(self, name: str, length: int, alt_txt: str | None) -> tuple[StoredFile, str]:
        """Begin an upload. Returns the file to be, and the secret of the address to send its bytes to."""
        file = StoredFile(f"F0{secrets.token_hex(4).upper()}", name, length, alt_txt)
        secret = secrets.token_urlsafe(16)
        self._promised[secret] = file
        return file, secret

    def receive(self, secret: str, content: bytes) -> StoredFile:
        """Take the bytes of a promised file, once.

        Raises:
            LookupError: there is no such upload, or it is done.
            ValueError: it is not as long as announced. Slack's reaction is not documented; this is stricter.
        """
        file = self._promised[secret]
        if len(content) != file.length:
            raise ValueError(f"announced {file.length} bytes, got {len(content)}")
        del self._promised[secret]
        file.content = content
        self.by_id[file.id] = file
        return file
