"""What fio shall do, as data, and the job file that says so. Source: fio(1)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from jinja2 import Environment, StrictUndefined

from harness.measurements import PROBE
from harness.workload.reader import NONCE_SIZE, RANDOM_PERCENT

_LEAST_PROBES = 20  # a second


class JobKind(StrEnum):
    """fio's `rw`."""

    WRITE = "write"
    READ = "read"
    RANDOM_WRITE = "randwrite"
    RANDOM_READ = "randread"

    @property
    def writes(self) -> bool:
        return self in (JobKind.WRITE, JobKind.RANDOM_WRITE)


@dataclass(frozen=True)
class Area:
    """A stretch of the device, in bytes."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Job:
    """One stream of I/O.

    `iops` paces it (None: as fast as it goes); `verified` writes blocks that carry their own
    checksum, offset and time, or checks those that do; `header_every` bytes of a larger block
    each get their own (None: one per block). Without `seconds` it runs once over its area;
    verified reads end after one pass in any case. Two jobs that write must not share an area,
    or verification would blame the storage. One that is not `logged` cannot be judged.

    `steady` random writes come to each block again after as many writes as there are blocks, a
    power of two. `pause_s` has them write `depth` blocks at once, wait for all, and pause: after a
    stall they do not catch up. What is paced like that, fio does not read back itself. `nonce` is
    put into every verified block that is written.
    """

    name: str
    kind: JobKind
    area: Area
    block_size: int
    depth: int
    iops: int | None = None
    verified: bool = False
    header_every: int | None = None
    seconds: float | None = None
    seed: int = 1
    logged: bool = True
    steady: bool = False
    pause_s: float | None = None
    nonce: str = ""

    @property
    def pace(self) -> float | None:
        """Bytes a second that it asks for, with those read to verify writes; None if unpaced."""
        if self.pause_s is not None:
            return self.depth * self.block_size / self.pause_s
        if self.iops is None:
            return None
        passes = 2 if self.verified and self.kind.writes else 1
        return float(passes * self.iops * self.block_size)

    def shared_by(self, luns: int) -> Job:
        """The same with its share of the pace, where it runs on so many LUNs at once.

        The probe keeps a pace at which it sees a stall of 0.1 s.
        """
        if self.pause_s is not None:
            return replace(self, pause_s=self.pause_s * luns)
        if self.iops is None:
            return self
        least = _LEAST_PROBES if self.name == PROBE else 1
        return replace(self, iops=min(self.iops, max(self.iops // luns, least)))

    def marked(self) -> Job:
        """The same, with a nonce of its own if it writes verified blocks and has none yet."""
        if self.nonce or not (self.verified and self.kind.writes):
            return self
        return replace(self, nonce=secrets.token_hex(NONCE_SIZE))

    @property
    def keeps_a_ledger(self) -> bool:
        """Whether every block it writes says which write it comes from, and fio lists them."""
        whole = self.header_every is None
        return self.verified and self.kind.writes and self.logged and whole


# md5: the one of fio's checksums that Python has too, so that the read-back can check it.
# clock_gettime and epoch 1: times on CLOCK_MONOTONIC, in the log and in every written block.
# log_avg_msec=0 keeps every I/O; an average would hide a stall.
# log_entries (its highest value): where a log grows, fio keeps up to iodepth entries aside until
# the next submission, and loses them if none comes (get_cur_log() in fio's stat.c). The room is
# zero pages until it is used.
# disable_clat: its log would be written too, at the cost of the I/O. Not disable_slat: the reads by
# which fio verifies a whole pass would have the submission time of what used their slot before, and
# seem to hang (do_verify() in its backend.c, 3.28 to 3.39).
# verify_backlog checks soon after writing, while both are still close to the fault (do_verify=0
# would switch that off). write_iolog keeps the order of the writes, which is what fio numbers them
# by in every block. randrepeat=0: else fio ignores the seed where it chooses offsets.
# buffer_pattern and buffer_compress_percentage: the last percent of a verified block is the nonce,
# over and over, and is in its checksum (__fill_buffer() in verify.c).
# random_generator=lfsr: each pass over the area is the same permutation, as fio starts the register
# anew from its seed (fio_file_reset() in filesetup.c). The first pass begins one step later
# (prepare_spin() in lib/lfsr.c). That does no harm if that step is past the area's end, as it is
# with a power of two of blocks if the job's own seed is odd. Nor must that be all ones, or fio
# gives up (lfsr_reset()). Its last 16 bits are those of `randseed` times the number of the job,
# plus 6 (setup_random_seeds() in init.c), so 5 modulo 8 suits the first job and the third: `steady`
# jobs are these. norandommap and io_size keep fio from beginning anew after two passes' worth of
# reads and writes (do_io() in backend.c).
CHECKSUM = "md5"
_TEMPLATE = """\
[global]
filename={{ device }}
ioengine=libaio
direct=1
thread=1
clocksource=clock_gettime
disable_clat=1
lat_percentiles=1
log_avg_msec=0
log_entries=1048576
log_offset=1
log_alternate_epoch=1
log_alternate_epoch_clock_id=1
per_job_logs=1
verify_state_save=0
{% for job in jobs %}
[{{ job.name }}]
rw={{ job.kind }}
offset={{ job.area.offset }}
size={{ job.area.size }}
bs={{ job.block_size }}
iodepth={{ job.depth }}
randrepeat=0
randseed={{ 8 * job.seed + 5 }}
{%- if job.steady %}
random_generator=lfsr
norandommap=1
io_size=16t
{%- endif %}
{%- if job.logged %}
write_lat_log={{ folder }}/{{ job.name }}
{%- endif %}
{%- if job.seconds is not none %}
time_based=1
runtime={{ "%.0f" | format(job.seconds * 1000) }}ms
{%- endif %}
{%- if job.iops is not none %}
rate_iops={{ job.iops }}
{%- endif %}
{%- if job.pause_s is not none %}
thinktime={{ "%.0f" | format(job.pause_s * 1000) }}ms
thinktime_blocks={{ job.depth }}
{%- endif %}
{%- if job.verified %}
verify={{ checksum }}
{%- if job.header_every is not none %}
verify_interval={{ job.header_every }}
{%- endif %}
{%- if job.kind.writes %}
{%- if job.nonce %}
buffer_pattern=0x{{ job.nonce }}
buffer_compress_percentage={{ 100 - random_percent }}
{%- endif %}
{%- if job.pause_s is none %}
verify_backlog=8
{%- else %}
do_verify=0
{%- endif %}
{%- if job.logged %}
write_iolog={{ folder }}/{{ job.name }}.iolog
{%- endif %}
{%- endif %}
{%- endif %}
{% endfor %}"""


def render_job_file(device: str, jobs: Sequence[Job], folder: str) -> str:
    """The job file for running `jobs` side by side; logs go to `folder`/NAME_lat.N.log.

    Verified writes also leave `folder`/NAME.iolog, to which fio appends.
    """
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(_TEMPLATE)  # noqa: S701  # not HTML
    return template.render(
        device=device, jobs=jobs, folder=folder, checksum=CHECKSUM, random_percent=RANDOM_PERCENT
    )
