"""What vehicles ask over HTTPS: a certificate, a newer one, and big files.

A listener and an application of their own: whoever may reach it reaches nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from cloud.devices import enrolment
from cloud.devices.enrolment import CertificateRefusedError, ClaimError
from cloud.devices.refusals import Refusals
from cloud.kit.clock import Clock
from cloud.kit.db import Pool
from cloud.kit.http import Moment, Problem, install_problems
from cloud.kit.ports.authority import (
    MAX_CSR_BYTES,
    Authority,
    CertificateError,
    CsrError,
    Issued,
    Shown,
    read_shown,
)
from cloud.kit.tls_server import peer_certificate
from protocol.commands import SignerKey

router = APIRouter(prefix="/device", tags=["device"])

_FOREVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Door:
    """What the listener needs.

    Attributes:
        pool: the database.
        clock: what time it is.
        authority: signs.
        lifetime: of a new certificate.
        mqtt: host and port of the broker.
        signers: returns the keys commands may be signed with, the next one included.
        blobs: folder of files that are named by their sha256.
        refusals: counts and tells.
    """

    pool: Pool
    clock: Clock
    authority: Authority
    lifetime: timedelta
    mqtt: tuple[str, int]
    signers: Callable[[], Sequence[SignerKey]]
    blobs: Path
    refusals: Refusals


class RefusedProblem(Problem):
    """A refusal that is counted: `what` was tried and `reason`, a word, why not."""

    def __init__(self, status: int, what: str, reason: str, detail: str) -> None:
        words = reason.replace("_", " ")
        kind = f"/problems/{reason.replace('_', '-')}"
        super().__init__(status, words[0].upper() + words[1:], detail, kind=kind)
        self.what = what
        self.reason = reason


class EnrolBody(BaseModel):
    """A claim and a signing request."""

    device_id: str = Field(pattern=r"^[a-z0-9-]{3,36}$")
    claim: str = Field(min_length=1, max_length=128)
    csr: str = Field(max_length=MAX_CSR_BYTES, description="PKCS #10, PEM")


class RenewBody(BaseModel):
    """A signing request."""

    csr: str = Field(max_length=MAX_CSR_BYTES, description="PKCS #10, PEM")


class SignerBody(BaseModel):
    """A key commands may be signed with: raw Ed25519, hex."""

    key_id: str
    public_key: str


class MqttBody(BaseModel):
    """Where the broker is."""

    host: str
    port: int


class IdentityBody(BaseModel):
    """An identity: the certificate, whom to trust, where to connect."""

    device_id: str
    certificate: str
    ca: str
    not_after: Moment
    signers: list[SignerBody]
    mqtt: MqttBody


def device_app(door: Door) -> FastAPI:
    """Return the application of the device listener."""
    app = FastAPI(title="Device listener", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.door = door
    install_problems(app)

    @app.exception_handler(RefusedProblem)
    async def _refused(request: Request, problem: RefusedProblem) -> Response:
        who = request.client.host if request.client else "somebody"
        door.refusals.note(problem.what, problem.reason, who)
        return problem.response(request)

    app.include_router(router)
    return app


def _door(request: Request) -> Door:
    door: Door = request.app.state.door
    return door


def _shown(request: Request) -> Shown:
    what = request.url.path.removeprefix("/device/").partition("/")[0]
    der = peer_certificate(request)
    if der is None:
        raise RefusedProblem(
            HTTPStatus.UNAUTHORIZED,
            what,
            "certificate_needed",
            "Show the device's certificate in the TLS handshake; enrol first to get one",
        )
    try:
        return read_shown(der)
    except CertificateError as error:
        raise RefusedProblem(
            HTTPStatus.FORBIDDEN, what, "certificate_unknown", str(error)
        ) from error


TheDoor = Annotated[Door, Depends(_door)]
Presented = Annotated[Shown, Depends(_shown)]


@router.post("/enrol", status_code=HTTPStatus.CREATED)
def enrol(body: EnrolBody, door: TheDoor) -> IdentityBody:
    """Turn a claim and a signing request into a certificate, for one key only."""
    try:
        with door.pool.connection() as db:
            issued = enrolment.redeem(
                db,
                door.authority,
                body.device_id,
                body.claim,
                body.csr,
                door.clock.now(),
                door.lifetime,
            )
    except ClaimError as error:
        raise RefusedProblem(
            HTTPStatus.FORBIDDEN, "enrol", f"claim_{error.fault}", _sentence(error)
        ) from error
    except CsrError as error:
        raise _csr_refused("enrol", error) from error
    return _identity(door, body.device_id, issued)


@router.post("/renew")
def renew(body: RenewBody, door: TheDoor, shown: Presented) -> IdentityBody:
    """Give the owner of a valid certificate a newer one."""
    try:
        with door.pool.connection() as db:
            issued = enrolment.renew(
                db, door.authority, shown, body.csr, door.clock.now(), door.lifetime
            )
    except CertificateRefusedError as error:
        raise _certificate_refused("renew", error) from error
    except CsrError as error:
        raise _csr_refused("renew", error) from error
    return _identity(door, shown.device_id, issued)


@router.api_route("/blobs/{sha256}", methods=["GET", "HEAD"])
def blob(
    sha256: Annotated[str, PathParameter(pattern=r"^[0-9a-f]{64}$")],
    door: TheDoor,
    shown: Presented,
) -> Response:
    """Return a file, or the range of it that is asked for."""
    try:
        with door.pool.connection() as db:
            enrolment.check_certificate(db, shown, door.clock.now())
    except CertificateRefusedError as error:
        raise _certificate_refused("blobs", error) from error
    path = door.blobs / sha256
    if not path.is_file():
        raise Problem(
            HTTPStatus.NOT_FOUND, "There is no such file", "Check the hash that was announced"
        )
    headers = {"etag": f'"{sha256}"', "cache-control": _FOREVER}
    return FileResponse(path, media_type="application/octet-stream", headers=headers)


def _identity(door: Door, device_id: str, issued: Issued) -> IdentityBody:
    host, port = door.mqtt
    return IdentityBody(
        device_id=device_id,
        certificate=issued.certificate_pem,
        ca=door.authority.ca_pem,
        not_after=issued.not_after,
        signers=[
            SignerBody(key_id=key.key_id, public_key=key.public_key) for key in door.signers()
        ],
        mqtt=MqttBody(host=host, port=port),
    )


def _csr_refused(what: str, error: CsrError) -> RefusedProblem:
    return RefusedProblem(HTTPStatus.UNPROCESSABLE_ENTITY, what, "csr_refused", _sentence(error))


def _certificate_refused(what: str, error: CertificateRefusedError) -> RefusedProblem:
    return RefusedProblem(
        HTTPStatus.FORBIDDEN, what, f"certificate_{error.fault}", _sentence(error)
    )


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[0].upper() + text[1:]
