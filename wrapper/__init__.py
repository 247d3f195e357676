"""Docker Build Server: notices pushes to GitHub and starts scripts/pipeline.sh."""

from pathlib import Path

_package = Path(__file__).resolve().parent
_beside, _inside = _package.parent / "scripts", _package / "scripts"
# In a checkout the scripts stand beside the package, in an installed wheel inside it.
SCRIPTS = _inside if _inside.is_dir() else _beside
