"""Slack's rate limits, with a controlled clock."""

from bot.demo.slack.limits import POST_BURST, Limits


def test_fifty_first_update_waits_a_minute() -> None:
    limits = Limits()
    assert [limits.admit("chat.update", 50, float(second)) for second in range(50)] == [0] * 50
    assert limits.admit("chat.update", 50, 50.0) == 10
    assert limits.admit("chat.update", 50, 59.5) == 1
    assert limits.admit("chat.update", 50, 60.0) == 0
    assert limits.admit("chat.update", 50, 60.0) == 1


def test_refused_requests_do_not_prolong_the_wait() -> None:
    limits = Limits()
    for _ in range(50):
        limits.admit("chat.update", 50, 0.0)
    assert [limits.admit("chat.update", 50, 30.0) for _ in range(100)] == [30] * 100
    assert limits.admit("chat.update", 50, 60.0) == 0


def test_methods_do_not_share_a_limit() -> None:
    limits = Limits()
    for _ in range(50):
        limits.admit("chat.update", 50, 0.0)
    assert limits.admit("chat.delete", 50, 0.0) == 0


def test_channel_accepts_burst_then_one_a_second() -> None:
    limits = Limits()
    assert [limits.admit_post("C1", 0.0) for _ in range(POST_BURST)] == [0] * POST_BURST
    assert limits.admit_post("C1", 0.0) == 1
    assert limits.admit_post("C1", 0.9) == 1
    assert limits.admit_post("C1", 1.0) == 0
    assert limits.admit_post("C1", 1.0) == 1
    assert limits.admit_post("C2", 1.0) == 0


def test_quiet_channel_regains_only_its_burst() -> None:
    limits = Limits()
    for _ in range(POST_BURST):
        limits.admit_post("C1", 0.0)
    answers = [limits.admit_post("C1", 1000.0) for _ in range(POST_BURST + 1)]
    assert answers == [*[0] * POST_BURST, 1]
