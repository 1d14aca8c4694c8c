"""A customer with a phone: everything by public HTTP, and the mailbox that the outbox is.

Nothing in here looks into the cloud's database.
"""

import asyncio
import contextlib
import email
import email.policy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote
from uuid import uuid4

import httpx

_PATIENCE_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.25
_LINK: Final = re.compile(r"/verify#token=(\S+)")
_BUSY: Final = frozenset({429, 502, 503, 504})
_ATTEMPTS: Final = 4
_LONGEST_WAIT_S: Final = 4.0
OVER: Final = frozenset({"ended", "cancelled"})


class RideError(RuntimeError):
    """A step of a ride was refused or did not come; the text says which and what to do."""


class RefusedError(RideError):
    """The cloud said no.

    Attributes:
        status: of HTTP.
        kind: the problem's type, such as /problems/vehicle-taken.
        problem: all that it said.
    """

    def __init__(self, step: str, status: int, problem: Mapping[str, Any]) -> None:
        title = problem.get("title", f"HTTP {status}")
        super().__init__(f"{step}: {title}. {problem.get('detail', '')}".rstrip())
        self.status = status
        self.kind = str(problem.get("type", ""))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Account:
    """Who signs in."""

    email: str
    password: str


class Customer:
    """One customer and what they do.

    Args:
        api_url: of the cloud.
        outbox: folder where the cloud puts mail.
        account: e-mail address and password.
        attempts: how often to ask a cloud that does not answer, each time by the same key.
    """

    def __init__(
        self, api_url: str, outbox: Path, account: Account, *, attempts: int = _ATTEMPTS
    ) -> None:
        self.account = account
        self._attempts = attempts
        self._outbox = outbox
        self._token = ""
        self._http = httpx.AsyncClient(
            base_url=f"{api_url.rstrip('/')}/api/v1", trust_env=False, timeout=_PATIENCE_S
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    def move_to(self, api_url: str) -> None:
        """Call the cloud at another address from now on."""
        self._http.base_url = httpx.URL(f"{api_url.rstrip('/')}/api/v1")

    async def sign_up(self, name: str, language: str = "en", time_zone: str = "UTC") -> None:
        """Ask for an account, agreeing to what everybody has to agree to."""
        documents = await self._ask("reading the terms", "GET", "/consents", public=True)
        agreed = [
            {"document": each["document"], "version": each["version"]}
            for each in documents
            if each["required"]
        ]
        wish = {
            "email": self.account.email,
            "password": self.account.password,
            "name": name,
            "language": language,
            "time_zone": time_zone,
            "consents": agreed,
        }
        await self._ask("signing up", "POST", "/auth/sign-up", wish, public=True)

    async def read_mail(self) -> str:
        """Wait for the mail of the sign-up; return the token of its link."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while (token := await asyncio.to_thread(self._mailed)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            raise RideError(
                f"no mail to {self.account.email} came into {self._outbox} within"
                f" {_PATIENCE_S:.0f} s; is MOBILITY_MAIL set, so that mail goes elsewhere?"
            ) from None
        return token

    def _mailed(self) -> str | None:
        """Return the token of the newest mail to this customer; the outbox keeps every mail."""
        found = []
        for path in self._outbox.glob("*.eml"):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            body = mail.get_body(("plain",))
            link = _LINK.search(body.get_content() if body is not None else "")
            if link is not None and self.account.email in str(mail["To"]):
                found.append((path.stat().st_mtime_ns, unquote(link[1])))
        return max(found)[1] if found else None

    async def verify(self, token: str) -> None:
        """Follow the link of the mail; the customer is signed in then."""
        told = await self._ask(
            "following the link", "POST", "/auth/verify", {"token": token}, public=True
        )
        self._token = told["access_token"]

    async def join(self, name: str, language: str = "en", time_zone: str = "UTC") -> None:
        """Sign up, read the mail and follow its link; the customer is signed in then."""
        await self.sign_up(name, language, time_zone)
        await self.verify(await self.read_mail())

    async def sign_in(self) -> None:
        """Sign in with e-mail address and password."""
        body = {"user": self.account.email, "password": self.account.password}
        told = await self._ask("signing in", "POST", "/auth/token", body, public=True)
        self._token = told["access_token"]

    async def cards(self) -> list[dict[str, Any]]:
        """Return the customer's cards."""
        found: list[dict[str, Any]] = await self._ask(
            "looking at the cards", "GET", "/me/payment-methods"
        )
        return found

    async def add_card(self, token: str) -> str:
        """Keep a card of the sandbox provider; return its id."""
        card = {"provider": "sandbox", "token": token, "last4": "4242", "brand": "Visa"}
        told = await self._ask("adding a card", "POST", "/me/payment-methods", card)
        return str(told["id"])

    async def remove_card(self, method_id: str) -> None:
        """Forget a card."""
        await self._ask("removing a card", "DELETE", f"/me/payment-methods/{method_id}")

    async def use_only(self, token: str) -> None:
        """Forget every card and keep another one."""
        for card in await self.cards():
            await self.remove_card(card["id"])
        await self.add_card(token)

    async def search(self, lat: float, lon: float, radius_m: float) -> list[dict[str, Any]]:
        """Return the free vehicles around a place, the nearest first."""
        near = {"near": f"{lat:.6f},{lon:.6f}", "radius_m": f"{radius_m:.0f}"}
        found: list[dict[str, Any]] = await self._ask("searching", "GET", "/vehicles", params=near)
        return found

    async def hold(self, vehicle_id: str, minutes: int = 5) -> dict[str, Any]:
        """Hold a vehicle."""
        wish = {"vehicle_id": vehicle_id, "minutes": minutes}
        return dict(await self._ask(f"holding {vehicle_id}", "POST", "/holds", wish))

    async def cancel_hold(self, hold_id: str) -> None:
        """Let a hold go."""
        await self._ask("cancelling the hold", "DELETE", f"/holds/{hold_id}")

    async def start(self, hold_id: str, method_id: str = "default") -> str:
        """Start to ride what is held; return the rental's id."""
        wish = {"hold_id": hold_id, "method_id": method_id}
        told = await self._ask("starting the rental", "POST", "/rentals", wish)
        return str(told["id"])

    async def rental(self, rental_id: str) -> dict[str, Any]:
        """Return a rental with its running meter."""
        return dict(await self._ask("looking at the rental", "GET", f"/rentals/{rental_id}"))

    async def open_rentals(self) -> list[dict[str, Any]]:
        """Return one's own rentals that are not over."""
        found = await self._ask("looking at the rentals", "GET", "/rentals")
        return [each for each in found if each["state"] not in OVER]

    async def until(
        self, rental_id: str, states: frozenset[str], patience_s: float
    ) -> dict[str, Any]:
        """Wait until a rental is in one of these states, or over; raises RideError."""
        rental: dict[str, Any] = {"state": "unknown"}
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    rental = await self.rental(rental_id)
                    if rental["state"] in states | OVER:
                        return rental
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            raise RideError(
                f"the rental is still {rental['state']} after {patience_s:.0f} s; look at"
                f" GET /api/v1/rentals/{rental_id} and at the cloud's log"
            ) from None

    async def do(self, rental_id: str, what: str) -> None:
        """Pause, resume or cancel a rental."""
        await self._ask(f"asking to {what}", "POST", f"/rentals/{rental_id}/{what}")

    async def add_photo(self, rental_id: str, jpeg: bytes) -> dict[str, Any]:
        """Send a photo of the parked vehicle; return what is wrong with it and how the end is."""
        path = f"/rentals/{rental_id}/photos"
        return dict(await self._ask("sending the photo", "POST", path, photo=jpeg))

    async def end(
        self, rental_id: str, lat: float, lon: float, *, accept_fee: bool = False
    ) -> dict[str, Any]:
        """End a rental where the phone is."""
        wish = {"lat": lat, "lon": lon, "accuracy_m": 5.0, "accept_fee": accept_fee}
        told = await self._ask("ending the rental", "POST", f"/rentals/{rental_id}/end", wish)
        return dict(told)

    async def receipt(self, rental_id: str) -> dict[str, Any]:
        """Return the receipt of a rental, waiting for the invoice, and for a while for its money.

        Raises:
            RideError: there is none.
        """
        found: dict[str, Any] | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while found is None or found["payment"]["open"]["amount_minor"]:
                    found = await self._receipt(rental_id) or found
                    await asyncio.sleep(_LOOK_EVERY_S)
        if found is None:
            raise RideError(
                f"there is no receipt of {rental_id} after {_PATIENCE_S:.0f} s; look at the"
                " cloud's log"
            )
        return found

    async def _receipt(self, rental_id: str) -> dict[str, Any] | None:
        try:
            path = f"/rentals/{rental_id}/receipt"
            return dict(await self._ask("reading the receipt", "GET", path))
        except RefusedError as refused:
            if refused.status != httpx.codes.NOT_FOUND:
                raise
            return None

    async def _ask(
        self,
        step: str,
        method: str,
        path: str,
        body: object = None,
        *,
        public: bool = False,
        params: Mapping[str, str] | None = None,
        photo: bytes | None = None,
    ) -> Any:  # noqa: ANN401 - as JSON is
        """Ask once, and again by the same key while nobody answers; raises RideError."""
        headers = {"Idempotency-Key": str(uuid4())} if method == "POST" and not public else {}
        if photo is not None:
            headers["Content-Type"] = "image/jpeg"
        sent = {"content": photo} if photo is not None else {"json": body} if body else {}
        signed_in_again = False
        for attempt in range(1, self._attempts + 1):
            if not public:
                headers["Authorization"] = f"Bearer {self._token}"
            try:
                answer = await self._http.request(
                    method, path, headers=headers, params=params, **sent
                )
            except httpx.TransportError as trouble:
                if attempt == self._attempts:
                    raise RideError(
                        f"{step}: the cloud does not answer ({type(trouble).__name__}); is it"
                        " running?"
                    ) from trouble
                await asyncio.sleep(_pause_s(attempt))
                continue
            if answer.status_code == httpx.codes.UNAUTHORIZED and not (public or signed_in_again):
                signed_in_again = True
                await self.sign_in()
                continue
            if _says_again(answer) and attempt < self._attempts:
                await asyncio.sleep(_retry_after_s(answer, attempt))
                continue
            return _told(step, answer)
        raise RideError(f"{step}: not signed in; check e-mail address and password")


def _says_again(answer: httpx.Response) -> bool:
    """Whether the same request may be answered otherwise in a while."""
    return answer.status_code in _BUSY or "Retry-After" in answer.headers


def _retry_after_s(answer: httpx.Response, attempt: int) -> float:
    told = answer.headers.get("Retry-After", "")
    return min(float(told), _PATIENCE_S) if told.isdecimal() else _pause_s(attempt)


def _pause_s(attempt: int) -> float:
    return float(min(2.0 ** (attempt - 1), _LONGEST_WAIT_S))


def _told(step: str, answer: httpx.Response) -> Any:  # noqa: ANN401 - as JSON is
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        problem = answer.json()
    except json.JSONDecodeError:
        problem = {"detail": answer.text[:200]}
    raise RefusedError(step, answer.status_code, problem if isinstance(problem, dict) else {})
