"""What helps against sessions that are not as planned, for people."""

from __future__ import annotations

from harness.analysis.advice import Advice
from harness.transport.iscsi.settings import NOOP_OUT_INTERVAL, NOOP_OUT_TIMEOUT, RECOVERY

ADVICE = Advice(
    timeouts={
        NOOP_OUT_INTERVAL: "node.conn[0].timeo.noop_out_interval in the node record, then log in",
        NOOP_OUT_TIMEOUT: "node.conn[0].timeo.noop_out_timeout in the node record, then log in",
        RECOVERY: (
            "fast_io_fail_tmo in multipath.conf: a later section (overrides) or a file in conf.d "
            "may set another one"
        ),
    },
    missing="does the portal answer, and does the target admit this initiator?",
    too_many="log out of those that are too many: `iscsiadm -m session`",
    not_up="does the portal answer? `iscsiadm -m session -P 1` shows the session's state",
    not_connected="does the portal answer? `iscsiadm -m session -P 1` shows the connection's state",
    differing=(
        "both ends decide it: [initiator.iscsi] is what open-iscsi offers (node.conn[0].iscsi and "
        "node.session.iscsi in its records, read at login), and the target has to agree"
    ),
    not_shown="leave that key out of [initiator.iscsi] and [target.iet], or use iscsi_tcp",
)
