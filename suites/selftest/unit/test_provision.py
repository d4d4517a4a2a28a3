"""What of provisioning can be told without a machine."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from harness.config import Config
from harness.config.model import FAST, STOCK
from harness.testbed.provision import Provisioner
from harness.testbed.site import Site
from harness.topology import plan


def test_one_site_serves_several_profiles() -> None:
    """libvirt's embedded driver gives a process no second connection."""
    unused: Any = object()
    config = Config()
    site = Site(config, plan(config), unused, unused, unused, {}, unused, unused)
    with Provisioner(site, ExitStack()).with_profile("stock") as lab:
        assert lab.site.config.profile == STOCK
        assert lab.site.connection is site.connection
        assert site.config.profile == FAST
