"""Slack's rate limits, by a clock of our own."""

from bot.demo.slack.limits import POST_BURST, Limits


def test_fifty_updates_pass_and_the_next_waits_until_the_first_is_a_minute_old() -> None:
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


def test_a_channel_takes_a_burst_and_then_one_post_a_second() -> None:
    limits = Limits()
    assert [limits.admit_post("C1", 0.0) for _ in range(POST_BURST)] == [0] * POST_BURST
    assert limits.admit_post("C1", 0.0) == 1
    assert limits.admit_post("C1", 0.9) == 1
    assert limits.admit_post("C1", 1.0) == 0
    assert limits.admit_post("C1", 1.0) == 1
    assert limits.admit_post("C2", 1.0) == 0


def test_a_quiet_channel_regains_its_burst_and_no_more() -> None:
    limits = Limits()
    for _ in range(POST_BURST):
        limits.admit_post("C1", 0.0)
    answers = [limits.admit_post("C1", 1000.0) for _ in range(POST_BURST + 1)]
    assert answers == [*[0] * POST_BURST, 1]
