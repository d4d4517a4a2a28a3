"""What runs that were killed left behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from harness.config.uri import EMBEDDED
from harness.errors import HarnessError
from harness.faults import heal_left_behind
from harness.guest_images.store import remove_unfinished
from harness.host.folder import Folder, cache_folder, reap
from harness.host.qemu_host import end_guests, is_foreign, reached
from harness.hypervisor.connection import connect
from harness.hypervisor.domain import destroy_named
from harness.hypervisor.elsewhere import other_host
from harness.hypervisor.leftovers import end_leftovers
from harness.steps import warn


def remove_abandoned() -> None:
    """Remove testbeds and images whose owners are dead, and heal what their callouts broke.

    What cannot be removed or healed is warned of.
    """
    undoing: tuple[Callable[[], object], ...] = (lambda: reap(end_domains), heal_left_behind)
    for undo in undoing:
        try:
            undo()
        except HarnessError as error:  # of another host perhaps, which cannot be reached
            warn(str(error))
    remove_unfinished(cache_folder())


def end_domains(folder: Folder) -> None:
    """End all domains of a testbed whose owner is gone; remove its files outside its folder."""
    manifest = folder.manifest()
    if manifest is None or manifest.uri == EMBEDDED:
        end_leftovers(folder.root)
        return
    with ExitStack() as stack:
        connection = stack.enter_context(connect(manifest.uri, folder.root))
        if is_foreign(manifest.uri):
            qemu_host = stack.enter_context(reached(other_host(manifest.uri), folder.name))
            end_guests(connection, manifest.domains, qemu_host)
        else:
            destroy_named(connection, manifest.domains)
