"""`python -m worker.engine BASE_FOLDER SOCKET_PATH`."""

import sys

from worker.engine import main

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
