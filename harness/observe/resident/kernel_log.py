"""The kernel's log. Source: Documentation/ABI/testing/dev-kmsg in the kernel."""

import errno
import os
from typing import Optional, Tuple

from harness.observe.resident.voice import Voice, now_ns

LOG_USER = 1  # syslog(3): the facility of what is written into /dev/kmsg, as the marks are


class KernelLog:
    """Follows /dev/kmsg from its end, and relates its clock to CLOCK_MONOTONIC."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.fd = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)
        self.expected: Optional[int] = None
        self.offset_ns = 0
        self.error_ns = 0
        self.pending: Optional[Tuple[str, int, int]] = None
        self.mark("pathproof: watching")

    def mark(self, text: str) -> None:
        before = now_ns()
        os.write(self.fd, text.encode() + b"\n")  # without it the record stays open, unread
        self.pending = (text, before, now_ns())

    def close(self) -> None:
        os.close(self.fd)

    def drain(self) -> None:
        while True:
            try:
                record = os.read(self.fd, 8192)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EPIPE:
                    continue  # overwritten before it was read; the sequence numbers tell how many
                raise
            self.tell(record.decode(errors="replace"))

    def tell(self, record: str) -> None:
        head, _, text = record.partition(";")
        level, sequence, stamp = head.split(",")[:3]
        text = text.split("\n")[0]
        if self.expected is not None and int(sequence) > self.expected:
            self.voice.say({"lost": int(sequence) - self.expected})
        self.expected = int(sequence) + 1
        stamp_ns = int(stamp) * 1000
        if self.pending and text == self.pending[0]:
            _, before, after = self.pending
            self.offset_ns = (before + after) // 2 - stamp_ns
            self.error_ns = (after - before) // 2 + 1000
            self.pending = None
        if int(level) >> 3 > LOG_USER:
            return  # a program's words, which journald may forward; the kernel's own are 0
        self.voice.say(
            {
                "kernel": [int(sequence), int(level) & 7, stamp_ns + self.offset_ns, text],
                "error": self.error_ns,
            }
        )
