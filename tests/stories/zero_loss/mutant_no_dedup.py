"""A broken ingest, for the story to convict: every segment that arrives is new to it."""

import sys

from cloud.app import Promise
from cloud.devices.model import Progress, Verdict
from cloud.kit.settings import CloudSettings
from cloud.serve import serve
from tests.stories.zero_loss.cluster import CONTEXTS


def always_new(_progress: Progress, _first: int, _last: int) -> Verdict:
    """Keep whatever comes."""
    return Verdict.NEW


if __name__ == "__main__":
    settings = CloudSettings.from_env(contexts=CONTEXTS)
    sys.exit(serve(settings, promise=Promise(classify=always_new)))
