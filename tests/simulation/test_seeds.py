"""300 seeds; `python -m tests.simulation` runs as many as wanted."""

import subprocess
import sys

import pytest

from tests.simulation.__main__ import described
from tests.simulation.seeds import run

SEEDS = 300
AT_ONCE = 25

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_seed_breaks_an_invariant(first: int) -> None:
    broken = [outcome for seed in range(first, first + AT_ONCE) if (outcome := run(seed)).problems]
    assert not broken, "\n\n".join(described(outcome) for outcome in broken)


def test_seeds_are_deterministic() -> None:
    fingerprints = {run(seed).fingerprint for seed in (3, 3)}
    program = "from tests.simulation.seeds import run; print(run(3).fingerprint)"
    for hashes in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hashes, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        )
        fingerprints.add(done.stdout.strip())
    assert len(fingerprints) == 1
