"""Killed runs leave nothing: three rounds on real machines; the script does as many as wanted."""

from suites.selftest.crash.kill_trial import main


def test_nothing_is_left_of_killed_runs_and_what_was_kept_lives() -> None:
    """One of them while the golden snapshot is made."""
    assert main(["--rounds", "3", "--seed", "1", "--fresh-every", "3"]) == 0
