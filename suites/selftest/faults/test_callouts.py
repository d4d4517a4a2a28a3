"""Callouts on machines: a switch that is ordered over HTTP, as arrays and switches are.

Its ports are the cables of the testbed. What its commands do is real; what they say is not asked.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.checks import (
    Verdict,
    data_intact,
    fault_took_effect,
    judge,
    no_io_errors,
    no_unexpected_path_loss,
    paths_restored,
    promise_kept,
    stall_within_budget,
)
from harness.config.callouts import CalloutConfig
from harness.faults import Callout, heal_left_behind
from harness.testbed import Testbed
from harness.topology import Role

BEFORE_S = 3
DURING_S = 4
AFTER_S = 5
# As `curl --fail --request PUT URL` would.
ORDER = """
import sys, urllib.request as u
opener = u.build_opener(u.ProxyHandler({}))
print(opener.open(u.Request(sys.argv[2], method=sys.argv[1]), timeout=20).read().decode())
"""


class Switch:
    """`PUT /LINK/down` pulls the cable of a link, `/LINK/up` plugs it in; what it was told last."""

    def __init__(self, testbed: Testbed, port: int) -> None:
        self.testbed = testbed
        self.url = f"http://127.0.0.1:{port}"
        self.told: list[str] = []

    def put(self, path: str) -> None:
        _, link, order = path.split("/")
        self.testbed.set_link(Role.INITIATOR, link, up=order == "up")
        self.told.append(order)

    def command(self, path: str) -> tuple[str, ...]:
        return (sys.executable, "-c", ORDER, "PUT", f"{self.url}/{path}")

    def callout(self, link: str) -> Callout:
        down, up = (self.command(f"{link}/{order}") for order in ("down", "up"))
        return Callout(CalloutConfig(name=f"port-{link}", links=(link,), inject=down, heal=up))


@pytest.fixture
def switch(testbed: Testbed) -> Iterator[Switch]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            made.put(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Switch(testbed, server.server_port)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def test_a_port_that_a_command_shuts(testbed: Testbed, switch: Switch, seed: int) -> None:
    """The path is lost and comes back, and its counters and the sweep prove that."""
    fault = switch.callout(testbed.topology.links[0].name)
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        testbed.fail_over(fault, during_s=DURING_S, after_s=AFTER_S)
    assert switch.told == ["down", "up"]
    for measured in io.measurements_by_lun.values():
        judgement = judge(
            measured,
            *(fault_took_effect(), data_intact(), no_io_errors(), stall_within_budget()),
            *(paths_restored(), no_unexpected_path_loss()),
        )
        for finding in judgement.findings:
            sys.stdout.write(f"\n{finding.check}: {finding.verdict}: {finding.message}\n")
        assert judgement.verdict is Verdict.PASS


def test_what_a_run_left_behind_is_healed(testbed: Testbed, switch: Switch) -> None:
    """Before the next test, as it was noted."""
    fault = switch.callout(testbed.topology.links[0].name)
    fault.inject(testbed)
    testbed.wait_until_lost(fault.hits(testbed.topology))
    assert heal_left_behind({fault.name}) == [fault.name]
    assert switch.told == ["down", "up"]
    testbed.wait_for_all_but(())


def test_a_suite_with_a_callout_that_does_nothing_is_unknown(testbed: Testbed, seed: int) -> None:
    """It waits in vain for the path to fail; nothing is held against the storage."""
    testbed.broken = "its I/O is cut short on purpose"
    own = CalloutConfig(
        name="says-done",
        links=(testbed.topology.links[0].name,),
        inject=("echo", "done"),
        heal=("echo", "done"),
    )
    with testbed.io(testbed.layout.mixed(seed), within_s=30) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        testbed.fail_over(Callout(own), during_s=DURING_S, after_s=AFTER_S)
    for measured in io.measurements_by_lun.values():
        judgement = judge(measured, *promise_kept())
        named = {finding.check: finding for finding in judgement.findings}
        for finding in judgement.findings:
            sys.stdout.write(f"\n{finding.check}: {finding.verdict}: {finding.message}\n")
        assert "during Callout(says-done): no effect" in named["fault took effect"].message
        assert judgement.verdict is Verdict.UNKNOWN
