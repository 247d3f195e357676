"""Docker Build Server: notices pushes to GitHub and starts scripts/pipeline.sh."""

from pathlib import Path

_here = Path(__file__).resolve().parent
# In a checkout the scripts stand beside the package, in an installed wheel inside it.
SCRIPTS = next(p for p in (_here / "scripts", _here.parent / "scripts") if p.is_dir())
