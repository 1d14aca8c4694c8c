"""The sandbox provider over HTTP, whose webhooks come when the test lets them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cloud.kit.clock import Clock, rfc3339
from simulator.sandbox_payments.bank import Bank
from simulator.sandbox_payments.server import build
from simulator.sandbox_payments.webhooks import Teller
from tests.cloud.payments.parts import KEY, SECRET, Sandbox, served


@dataclass
class PostBag:
    """What the provider has told and nobody has brought yet; it may be brought in any order."""

    clock: Clock
    letters: list[bytes] = field(default_factory=list)

    def tell(self, type_: str, data: dict[str, Any]) -> None:
        told = {"id": f"evt_{len(self.letters)}", "type": type_, "data": data}
        told["created"] = rfc3339(self.clock.now())
        self.letters.append(json.dumps(told).encode())


@contextmanager
def a_bank(clock: Clock, bag: PostBag) -> Iterator[Sandbox]:
    """Serve the sandbox."""
    teller = Teller(None, SECRET, clock)
    bank = Bank(clock, None, bag.tell)
    with served(build(bank, teller, KEY)) as server:
        yield Sandbox(server.url, bank, teller)
