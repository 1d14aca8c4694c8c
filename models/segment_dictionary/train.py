"""Train a zstd dictionary for segment bodies: `python -m models.segment_dictionary.train`."""

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import zstandard

from models.segment_dictionary.rides import bench_ride, controller_ride
from protocol.bodies import encode_signals

SIZE_BYTES = 16_384
SEED = 20_261_124


def bodies(seed: int) -> Iterator[bytes]:
    """Yield signal bodies as vehicles seal them: of 1 to 120 readings, all profiles."""
    rng = random.Random(seed)
    for _ in range(160):
        make = rng.choice((bench_ride, controller_ride))
        ride = make(rng, 240)
        for n in (1, 1, 1, 3, 5, 10, 10, 10, 30, 60, 120):
            times, columns = ride.cut(rng.randrange(0, 240 - n), n)
            yield encode_signals(times, columns)


def main(arguments: list[str] | None = None) -> int:
    """Write the dictionary; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m models.segment_dictionary.train")
    parser.add_argument("--out", type=Path, required=True, help="file to write, such as 2.zdict")
    parser.add_argument("--seed", type=int, default=SEED)
    chosen = parser.parse_args(arguments)
    samples: list[bytes | bytearray | memoryview] = list(bodies(chosen.seed))
    trained = zstandard.train_dictionary(SIZE_BYTES, samples)
    chosen.out.write_bytes(trained.as_bytes())
    print(f"{chosen.out}: {len(trained)} bytes from {len(samples)} bodies")
    return 0


if __name__ == "__main__":
    sys.exit(main())
