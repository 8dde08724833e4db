"""How tokens and keys are kept in the database: encrypted, so that a copy of it opens nobody's Slack or Omni."""

import re

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from bot.domain import DecryptionFailed


def key_list(keys: str) -> list[str]:
    """The keys that have commas or spaces between them."""
    return [part for part in re.split(r"[\s,]+", keys) if part]


class EncryptionKeys:
    """The keys of `ENCRYPTION_KEY`: the first encrypts, each of them decrypts. So a new one is put in front of the old
    one, which can go when all has been encrypted anew."""

    def __init__(self, keys: str) -> None:
        """`keys`: each 32 bytes in URL-safe Base64, with commas or spaces between them.

        Raises:
            ValueError: there is none, or one is no such key.
        """
        parts = key_list(keys)
        if not parts:
            raise ValueError("holds no key")
        try:
            self._keys = MultiFernet([Fernet(part) for part in parts])
        except ValueError as error:
            raise ValueError("holds something that is no key of 32 bytes in URL-safe Base64") from error

    def encrypt(self, secret: str) -> str:
        """The secret, unreadable to whoever has no key of ours."""
        return self._keys.encrypt(secret.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """What was encrypted. Raises Unreadable."""
        try:
            return self._keys.decrypt(encrypted.encode()).decode()
        except InvalidToken as error:
            raise DecryptionFailed("encrypted with a key that ENCRYPTION_KEY does not name") from error

    def reencrypt(self, encrypted: str) -> str:
        """The same, encrypted with the first key. Raises Unreadable."""
        try:
            return self._keys.rotate(encrypted.encode()).decode()
        except InvalidToken as error:
            raise DecryptionFailed("encrypted with a key that ENCRYPTION_KEY does not name") from error
