"""Encryption of the tokens and keys in the database, so that a copy of it gives no access to Slack or Omni."""

import re

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from bot.domain import DecryptionFailed


def key_list(keys: str) -> list[str]:
    """Split keys at commas and spaces."""
    return [part for part in re.split(r"[\s,]+", keys) if part]


class EncryptionKeys:
    """The keys of `ENCRYPTION_KEY`: the first encrypts, each of them decrypts.

    To rotate, put a new key first and remove the old one after everything has been encrypted again.
    """

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
        """Encrypt a secret."""
        return self._keys.encrypt(secret.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """Decrypt a secret. Raises DecryptionFailed."""
        try:
            return self._keys.decrypt(encrypted.encode()).decode()
        except InvalidToken as error:
            raise DecryptionFailed("encrypted with a key that ENCRYPTION_KEY does not name") from error

    def reencrypt(self, encrypted: str) -> str:
        """Encrypt the secret again with the first key. Raises DecryptionFailed."""
        try:
            return self._keys.rotate(encrypted.encode()).decode()
        except InvalidToken as error:
            raise DecryptionFailed("encrypted with a key that ENCRYPTION_KEY does not name") from error
