"""Computers the harness talks to: over SSH (guests and existing hosts) or this very host.

Imports the vocabulary and the frozen data; paramiko is imported by `ssh` alone.
"""

from harness.machine.base import Completed, Machine, Process
from harness.machine.local import LocalMachine
from harness.machine.ssh import SshEndpoint, SshMachine

__all__ = ["Completed", "LocalMachine", "Machine", "Process", "SshEndpoint", "SshMachine"]
