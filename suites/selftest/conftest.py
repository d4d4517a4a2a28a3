"""Who started the run must not decide what its tests see."""

import signal

# A shell starts what runs in the background with SIGINT ignored, and children inherit that:
# those that are to be interrupted here would not be.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
