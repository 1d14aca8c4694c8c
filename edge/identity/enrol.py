"""Gets the vehicle its certificate and keeps it fresh: claim, renewal, rotation.

Nothing here stops the agent: without an identity it journals, and this tries again.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from edge.clock import Clock, utc
from edge.faultpoint import reach
from edge.identity.certificate import CertificateInfo
from edge.identity.exchange import Ask, CloudAwayError, RefusedError, ask
from edge.identity.keys import KeyStore, KeyStoreError, trusting_context
from edge.settings import Identity

_log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
REFUSED_WAIT_S = 600.0
LOOK_EVERY_S = 3600.0
STOP_S = 2.0
RENEWAL_SPREAD = 0.05

Record = Callable[[str, Mapping[str, Any]], Awaitable[object]]
Step = Literal["enrol", "renew"]


class Enroller:
    """Looks after one vehicle's identity.

    Args:
        settings: where to enrol, the claim, whom to trust with it.
        device_id: whom the certificate is to name.
        keys: where the identity is kept.
        clock: both clocks.
        offset: how far this device's wall clock is behind the cloud's, milliseconds.
        record: writes a fact into the journal.
        post: asks the cloud; by default over HTTPS.
        chance: jitter, 0 to 1.
    """

    def __init__(
        self,
        settings: Identity,
        device_id: str,
        keys: KeyStore,
        *,
        clock: Clock,
        offset: Callable[[], int],
        record: Record,
        post: Ask = ask,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._device_id = device_id
        self._keys = keys
        self._clock = clock
        self._offset = offset
        self._record = record
        self._post = post
        self._chance = chance
        self._busy = asyncio.Lock()
        self._early = RENEWAL_SPREAD * chance()
        self._refused_claim = False
        self._said = ""
        self._tries = 0
        self.when_new: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Enrol and renew when it is time, until cancelled; expected trouble is waited out."""
        while True:
            wait_s = await self.step()
            await asyncio.sleep(wait_s)

    async def step(self) -> float:
        """Do what is due now and return how many seconds until it is worth looking again."""
        try:
            due = self._due()
            if due is None:
                return self._until_due_s()
            await (self.enrol() if due == "enrol" else self.rotate())
        except CloudAwayError as error:
            wait_s = min(FIRST_WAIT_S * 2**self._tries, LONGEST_WAIT_S)
            self._tries = min(self._tries + 1, 10)
            self._say(f"{error}; it is tried again and again")
            return error.after_s or wait_s * (1 - self._chance() / 2)
        except RefusedError as error:
            self._say(str(error))
            return REFUSED_WAIT_S
        except KeyStoreError as error:
            self._say(str(error))
            return LONGEST_WAIT_S
        self._tries, self._said = 0, ""
        return self._rest_s()

    async def enrol(self) -> CertificateInfo:
        """Turn the claim of the configuration into a certificate.

        Raises CloudAwayError, RefusedError, KeyStoreError; each says what to do next.
        """
        claim, url, ca = self._settings.claim, self._settings.enrol_url, self._settings.ca
        if not claim or not url or not ca:
            raise RefusedError(self._cannot(claim, url))
        body = {"device_id": self._device_id, "claim": claim}
        try:
            held = await self._exchange("enrol", body, lambda: trusting_context(ca), claim=claim)
        except RefusedError as error:
            self._refused_claim = True
            raise RefusedError(self._refusal(error), error.problem) from error
        await self._tell("identity.enrolled", held)
        return held

    async def rotate(self) -> CertificateInfo:
        """Make a new key and have it certified now, by the certificate that is still good.

        Raises CloudAwayError, RefusedError, KeyStoreError; each says what to do next.
        """
        if not self._settings.enrol_url:
            raise RefusedError(
                "the certificate cannot be renewed: [identity] enrol_url is missing in the "
                "configuration; add it"
            )
        try:
            held = await self._exchange("renew", {}, self._keys.tls_context)
        except RefusedError as error:
            why = "it is revoked" if error.problem == "certificate-revoked" else error
            raise RefusedError(
                f"the cloud does not renew our certificate ({why}); {self._new_claim()}",
                error.problem,
            ) from error
        await self._tell("identity.renewed", held)
        return held

    async def _exchange(
        self,
        leaf: Step,
        body: Mapping[str, str],
        context: Callable[[], ssl.SSLContext],
        claim: str | None = None,
    ) -> CertificateInfo:
        """Ask for a certificate for a new key and keep it; whoever was connected connects anew."""
        async with self._busy:
            work = asyncio.create_task(self._certify(leaf, body, context, claim), name="identity")
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                # An answer that is on its way is kept: that spares asking again.
                await asyncio.wait({work}, timeout=STOP_S)
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                raise
            held = self._keys.held()
        if held is None:
            raise KeyStoreError("the certificate is gone; look at the folder under [identity]")
        self._refused_claim = False
        self.when_new()
        return held

    async def _certify(
        self,
        leaf: Step,
        body: Mapping[str, str],
        context: Callable[[], ssl.SSLContext],
        claim: str | None,
    ) -> None:
        with self._keys.alone():
            tls = context()
            csr = await asyncio.to_thread(self._keys.new_request, self._device_id, claim=claim)
            answer = await self._post(self._url(leaf), {**body, "csr": csr}, tls)
            reach("enrol.answered")
            if answer.device_id != self._device_id:
                raise RefusedError(
                    f"the cloud answered with an identity for {answer.device_id!r}; "
                    "check [device] id and ask whoever runs the cloud"
                )
            await asyncio.to_thread(
                self._keys.keep, answer.certificate, answer.ca, answer.signers, claim=claim
            )

    def _url(self, leaf: Step) -> str:
        base = (self._settings.enrol_url or "").rstrip("/").removesuffix("/enrol")
        return f"{base.removesuffix('/device')}/device/{leaf}"

    def _due(self) -> Step | None:
        """Tell what is to be done now. Raises KeyStoreError, RefusedError."""
        held, claim = self._keys.held(), self._settings.claim
        fresh = bool(claim) and not self._keys.redeemed(claim or "")
        if held is None:
            return "enrol"
        if held.common_name != self._device_id:
            raise KeyStoreError(
                f"the identity under [identity] folder is of {held.common_name!r}, not of "
                f"{self._device_id}; give each vehicle its own folder"
            )
        if fresh and not self._refused_claim:
            return "enrol"
        if self._now_ms() < self._renew_at_ms(held):
            return None
        if self._now_ms() >= held.not_after_ms:
            if fresh:
                return "enrol"
            raise RefusedError(
                f"our certificate expired on {utc(held.not_after_ms)}; {self._new_claim()}"
            )
        return "renew"

    def _until_due_s(self) -> float:
        held = self._keys.held()
        if held is None:
            return FIRST_WAIT_S
        # The wall clock may jump, and somebody may have enrolled by hand: look once an hour.
        until_s = (self._renew_at_ms(held) - self._now_ms()) / 1000
        return min(max(until_s, 0.0), LOOK_EVERY_S)

    def _rest_s(self) -> float:
        """Return how long to leave a new certificate alone, however wrong the clock may be."""
        held = self._keys.held()
        life_ms = held.not_after_ms - held.not_before_ms if held else 0
        return min(max(life_ms / 10_000, FIRST_WAIT_S), LOOK_EVERY_S)

    def _renew_at_ms(self, held: CertificateInfo) -> float:
        """Return when to renew: at two thirds of its life, some vehicles a little sooner."""
        return held.renew_from_ms - self._early * (held.not_after_ms - held.not_before_ms)

    def _now_ms(self) -> int:
        return self._clock.wall_ms() + self._offset()

    def _new_claim(self) -> str:
        return (
            f"make a claim with: mobility-cloud devices claim {self._device_id}, "
            "put it under [identity] claim, and start the agent again"
        )

    def _cannot(self, claim: str | None, url: str | None) -> str:
        if not claim:
            return f"there is no certificate and no claim to get one; {self._new_claim()}"
        missing = "ca" if url else "enrol_url"
        return (
            f"[identity] {missing} is missing, so the claim cannot be used; write a new "
            f"configuration with: mobility-cloud devices add {self._device_id} --force"
        )

    def _refusal(self, error: RefusedError) -> str:
        what = {
            "claim-used": "the claim was used already",
            "claim-expired": "the claim has expired",
            "claim-unknown": f"the cloud knows no such claim for {self._device_id}",
        }.get(error.problem)
        if what is None:
            return f"the cloud refuses to enrol us: {error}"
        return f"{what}; {self._new_claim()}"

    async def _tell(self, kind: str, held: CertificateInfo) -> None:
        _log.info(
            "%s: certificate %s, good until %s",
            *(kind.replace(".", " "), held.serial, utc(held.not_after_ms)),
        )
        await self._record(kind, {"serial": held.serial, "not_after_ms": held.not_after_ms})

    def _say(self, text: str) -> None:
        level = logging.DEBUG if text == self._said else logging.WARNING
        self._said = text
        _log.log(level, "identity: %s", text)
