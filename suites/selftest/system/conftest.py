"""What these tests can be asked for."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--whole-suite",
        action="store_true",
        help="run all of suites/failover on each kind of network, and not one test of it",
    )


@pytest.fixture
def whole_suite(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--whole-suite", default=False))
