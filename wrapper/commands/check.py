"""docker-build-server check: is the configuration as it should be?"""

from wrapper.config.load import load, remarks
from wrapper.config.schema import mask


def run(source: str) -> int:
    """Says that nothing is wrong, and what is odd, and returns 0; else raises
    ConfigError.
    """
    config = load(source)
    for remark in remarks(config):
        print(f"{mask(source)}: {remark}")
    what = f"repositories: {len(config.repositories)}, builds in {config.builds}"
    print(f"{mask(source)}: ok ({what})")
    return 0
