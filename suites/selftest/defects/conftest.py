"""What planted defects showed is written down if the run is asked to."""

import pytest

from suites import pages


def pytest_configure(config: pytest.Config) -> None:
    pages.heed(config)
