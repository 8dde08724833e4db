"""Slack's SDK as a client of the simulator."""

import pytest


@pytest.fixture(autouse=True)
def _no_proxy_for_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the proxies of the environment, which the SDK would also use for this machine."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
