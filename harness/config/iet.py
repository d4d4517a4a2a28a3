"""Options of the iSCSI Enterprise Target."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.config.base import Model

Digest = Literal["None", "CRC32C", "None,CRC32C"]


class IetOptions(Model):
    """Options of kind `iet`; None leaves IET's own value.

    Limits are those of param.c and iscsi.h in IET 1.4.20, which silently takes its minimum for a
    number beyond them. A digest of "CRC32C" is to IET the same as "None,CRC32C": it uses
    none with an initiator that offers none (digest_str_to_val() in param.c).
    """

    max_sessions: int | None = Field(None, ge=0, le=65535, description="0 is without limit")
    wthreads: int | None = Field(None, ge=1, le=128, description="threads that do I/O")
    queued_commands: int | None = Field(None, ge=1, le=256, description="a session may queue")
    nop_interval_s: int | None = Field(None, ge=0, le=90, description="between NOP-Ins; 0 is off")
    nop_timeout_s: int | None = Field(None, ge=0, le=90, description="0 is the interval")
    initial_r2t: bool | None = None
    immediate_data: bool | None = None
    max_recv_data_segment_length: int | None = Field(None, ge=512, le=262144)
    max_xmit_data_segment_length: int | None = Field(None, ge=512, le=262144)
    max_burst_length: int | None = Field(None, ge=512, le=16777215)
    first_burst_length: int | None = Field(None, ge=512, le=16777215)
    default_time2wait_s: int | None = Field(None, ge=0, le=3600)
    max_outstanding_r2t: int | None = Field(None, ge=1, le=65535)
    header_digest: Digest | None = Field(None, description="what the initiator may choose from")
    data_digest: Digest | None = None
