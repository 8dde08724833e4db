"""Draws delay against number of jobs as SVG: one line per bot, both axes logarithmic."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 24, 52
X_TICKS = (1, 3, 10, 25, 100, 500)
Y_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
COLOURS = ("#1264a3", "#8a6d00", "#a0392c", "#5b5b5b", "#2e7d4f")
FONT = 'font-family="system-ui, sans-serif" font-size="13"'
DASHES = ("", "2 3", "6 3", "1 4", "8 3 2 3")
"""Lines differ by more than color."""

Line = Sequence[tuple[int, float]]
"""Numbers of jobs and mean delays in seconds; a point without a delay is left out."""


def plot(lines: Mapping[str, Line]) -> str:
    """The picture, readable on light and dark pages."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {FONT}>',
        "<title>Mean delay from the end of a job to its answer in Slack, by number of jobs</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_axes(),
    ]
    labels: list[float] = []
    for number, (name, line) in enumerate(lines.items()):
        points = [(_x(jobs), _y(seconds)) for jobs, seconds in line if not math.isnan(seconds)]
        if points:
            parts += _line(name, points, COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)], labels)
    return "\n".join([*parts, "</svg>", ""])


def _axes() -> list[str]:
    parts = []
    for jobs in X_TICKS:
        x = _x(jobs)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e2e2e2"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{jobs}</text>')
    for seconds in Y_TICKS:
        y = _y(seconds)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e2e2e2"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{seconds} s</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">jobs that begin within a minute</text>'
    )
    return parts


def _line(
    name: str, points: Sequence[tuple[float, float]], colour: str, dash: str, labels: list[float]
) -> list[str]:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    x, y = points[-1]
    while any(abs(y - other) < 16 for other in labels):
        y += 4
    labels.append(y)
    dots = [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}"/>' for px, py in points]
    return [
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>',
        *dots,
        f'<text x="{x + 10:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(name)}</text>',
    ]


def _x(jobs: float) -> float:
    return _scaled(jobs, X_TICKS[0], X_TICKS[-1], LEFT + 16, WIDTH - RIGHT - 8)


def _y(seconds: float) -> float:
    return _scaled(max(seconds, Y_TICKS[0]), Y_TICKS[0], Y_TICKS[-1], HEIGHT - BOTTOM, TOP)


def _scaled(value: float, low: float, high: float, at_low: float, at_high: float) -> float:
    return at_low + (at_high - at_low) * math.log(value / low) / math.log(high / low)
