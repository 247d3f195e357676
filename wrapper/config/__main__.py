"""python -P -m wrapper.config OWNER/NAME: see main() of load."""

import sys

from wrapper.config.load import main

raise SystemExit(main(sys.argv[1:]))
