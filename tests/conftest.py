"""Ctrl-C is heard in tests also where a shell started them in the background, which makes it ignored."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
