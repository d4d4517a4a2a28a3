"""Hosts that run tests for another: reach them, give them the code, bring results back.

`reach` names a host to the user's own ssh, `parcel` says what travels, `prepare` makes a
host ready, `results` carries files from a worker to its controller. Knows nothing of pytest.
"""

from harness.fleet.prepare import Ready, Refused, Travelling, prepare
from harness.fleet.results import Receiver, send_results

__all__ = ["Ready", "Receiver", "Refused", "Travelling", "prepare", "send_results"]
