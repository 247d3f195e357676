"""Docker Build Server: notices pushes to GitHub and starts scripts/pipeline.sh."""

import os.path  # and no pathlib: version.sh starts Python in each build

_package = os.path.dirname(os.path.realpath(__file__))
_beside, _inside = os.path.dirname(_package) + "/scripts", _package + "/scripts"
# In a checkout the scripts stand beside the package, in an installed wheel inside it.
SCRIPTS = _inside if os.path.isdir(_inside) else _beside
