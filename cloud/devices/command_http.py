"""`/api/v1/commands`: how a command stands, and the second person's yes. Translates only."""

import asyncio
import contextlib
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from cloud.devices import requests
from cloud.devices.command_problems import CommandRefusedError
from cloud.devices.command_rules import is_final
from cloud.devices.command_view import AskedBody, CommandBody
from cloud.devices.hub import CommandHub
from cloud.devices.store.commands import CommandRow
from cloud.kit.auth import needs
from cloud.kit.db import Db
from cloud.kit.http import told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once
from cloud.kit.principal import Principal

router = APIRouter(prefix="/commands", tags=["commands"])

LONGEST_WAIT_S = 30.0


@router.get("/{command_id}", responses=told_problems(404, 422))
async def command(
    request: Request,
    command_id: UUID,
    who: Annotated[Principal, needs("commands:read")],
    wait_s: Annotated[
        float,
        Query(ge=0, le=LONGEST_WAIT_S, description="wait so many seconds for it to end"),
    ] = 0,
) -> CommandBody:
    """Return one command as soon as it has ended, or after `wait_s` as it stands then."""

    def look() -> CommandRow:
        with request.app.state.pool.connection() as db:
            row = requests.command(db, who.realm, command_id)
        if row is None:
            raise requests.unknown_command(command_id).problem
        return row

    if not wait_s:
        return CommandBody.model_validate(await run_in_threadpool(look))
    hub: CommandHub = request.app.state.commands
    async with hub.waiting(command_id) as waiter:
        row = await run_in_threadpool(look)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while not is_final(row.state):
                    row = await waiter.next()
    return CommandBody.model_validate(row)


@router.post(
    "/{command_id}/approve",
    status_code=202,
    response_model=AskedBody,
    responses=told_problems(400, 404, 409, 422),
)
def approve(
    request: Request,
    command_id: UUID,
    who: Annotated[Principal, needs("commands:approve")],
    asked: Annotated[Asked, Depends(keyed)],
) -> Response:
    """Be the second person that a command waits for."""
    state = request.app.state

    def work(db: Db) -> Answer:
        try:
            row = requests.approve(db, who, command_id, state.clock.now())
        except CommandRefusedError as refused:
            raise refused.problem from None
        body = AskedBody.model_validate(row).model_dump(mode="json")
        return Answer(202, body, {"Location": f"/api/v1/commands/{row.id}"})

    return once(state.pool, state.clock, who, asked, work)
