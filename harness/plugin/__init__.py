"""pytest: options, hooks and fixtures. Wiring, no logic.

`conftest.py` loads it. Fixtures for suites: `testbed`, `judge`, `publish_throughput`,
`seed`, and the parameters `loss`, `link` and `path`, which run a test once for each of the testbed.
"""

from harness.plugin.fixtures import (
    Judge,
    PublishThroughput,
    judge,
    publish_throughput,
    seed,
    testbed,
    testbeds,
)
from harness.plugin.hooks import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_generate_tests,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_runtest_setup,
    pytest_sessionfinish,
    pytest_unconfigure,
)

pytest_plugins = ["harness.plugin.fleet"]

__all__ = [
    "Judge",
    "PublishThroughput",
    "judge",
    "publish_throughput",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_unconfigure",
    "seed",
    "testbed",
    "testbeds",
]
