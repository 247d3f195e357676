"""docker-build-server check: is the configuration as it should be?"""

from wrapper.config.load import load
from wrapper.config.schema import mask


def run(source: str) -> int:
    """Says that nothing is wrong, and returns 0; else raises ConfigError."""
    config = load(source)
    what = f"repositories: {len(config.repositories)}, builds in {config.builds}"
    print(f"{mask(source)}: ok ({what})")
    return 0
