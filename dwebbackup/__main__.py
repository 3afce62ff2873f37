"""Where the program begins: `dwebbackup`, and `python -m dwebbackup`."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports below shows no traceback of them

from dwebbackup.cli import main

if __name__ == "__main__":
    main()
