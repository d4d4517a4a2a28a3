"""What the machine that runs these tests must not decide: its speed, and who started the run."""

import signal

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A shell starts what runs in the background with SIGINT ignored, and children inherit that:
# those that are to be interrupted here would not be.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
