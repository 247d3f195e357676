"""python -P -m wrapper.version BUILD <FACTS: see main() of choose."""

import sys

from wrapper.version.choose import main

raise SystemExit(main(sys.argv[1:]))
