"""Files in the simulated workspace, from the promise of an upload to the file in a conversation. No I/O."""

import mimetypes
import secrets
from dataclasses import dataclass
from typing import Any, Literal

Uploads = Literal["all", "images", "none"]
"""What the workspace's admins let people upload."""


@dataclass(slots=True)
class StoredFile:
    """A file as Slack keeps it.

    A message shares it under `files`, as a list of `as_json()`. The page draws it by `url_private`, which this
    simulator serves to anybody: an image by `<img src=url_private alt=alt_txt>`, anything else by its title, name
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

    @property
    def mimetype(self) -> str:
        """By the name's ending, as Slack guesses it."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    @property
    def is_image(self) -> bool:
        """Whether Slack shows it as a picture."""
        return self.mimetype.startswith("image/")

    def as_json(self) -> dict[str, Any]:
        """The file as messages and the page's events show it, under Slack's own names."""
        shown: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "title": self.title or self.name,
            "mimetype": self.mimetype,
            "filetype": self.name.rpartition(".")[2].lower(),
            "size": self.length,
            "url_private": self.url_private,
        }
        return shown | ({"alt_txt": self.alt_txt} if self.alt_txt else {})


class Files:
    """The files of a workspace."""

    def __init__(self) -> None:
        self.allowed: Uploads = "all"
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
            ValueError: it is not as long as announced. What Slack does then is not documented: the stricter way.
        """
        file = self._promised[secret]
        if len(content) != file.length:
            raise ValueError(f"announced {file.length} bytes, got {len(content)}")
        del self._promised[secret]
        file.content = content
        self.by_id[file.id] = file
        return file
