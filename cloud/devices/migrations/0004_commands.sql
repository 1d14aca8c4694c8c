-- What was asked of a device, and what came of it. accepted_at, executing_at and ended_at of an
-- answered command are the device's, corrected; every other time is ours. While it waits for a
-- second person, not_after is the end of that wait.
CREATE TABLE devices.command (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    device_id text NOT NULL,
    vehicle_id text NOT NULL,
    kind text NOT NULL,
    args jsonb NOT NULL,
    reason text NOT NULL,
    actor_id uuid NOT NULL,
    actor text NOT NULL,
    traceparent text,
    created_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('awaiting_approval', 'pending', 'accepted', 'executing',
        'expired', 'done', 'refused', 'failed')),
    state_reason text NOT NULL DEFAULT '',
    approved_by_id uuid,
    approved_by text,
    approved_at timestamptz,
    not_after timestamptz NOT NULL,
    sent_at timestamptz,
    last_sent_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    accepted_at timestamptz,
    executing_at timestamptz,
    ended_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX command_pending ON devices.command (device_id)
    WHERE state IN ('pending', 'accepted');
CREATE INDEX command_open ON devices.command (not_after)
    WHERE state IN ('pending', 'accepted', 'executing', 'awaiting_approval');
CREATE INDEX command_by_vehicle ON devices.command (vehicle_id, created_at);
CREATE INDEX command_by_actor ON devices.command (actor_id, created_at);
CREATE INDEX command_by_kind ON devices.command (tenant, kind, created_at);

-- Every command and every change of a twin, to be counted against the limits.
CREATE TABLE devices.asked (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    device_id text NOT NULL,
    actor_id uuid NOT NULL,
    immobilises boolean NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX asked_by_actor ON devices.asked (actor_id, at);
CREATE INDEX asked_by_tenant ON devices.asked (tenant, at);
CREATE INDEX asked_immobilising ON devices.asked (tenant, at) WHERE immobilises;

-- How a device is wanted. payload is the version as it is sent, the keys it announces included:
-- made before the first sending and never changed, so that every repeat is the same document.
CREATE TABLE devices.twin (
    device_id text PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    version bigint NOT NULL,
    document jsonb NOT NULL,
    desired_at timestamptz NOT NULL,
    payload bytea,
    signers text[],
    sent_at timestamptz,
    reported_version bigint,
    reported_state text CHECK (reported_state IN ('applied', 'refused')),
    reported_reason text NOT NULL DEFAULT '',
    reported_detail text NOT NULL DEFAULT '',
    reported_at timestamptz,
    -- The keys that the newest applied version announced, and since when they are believed.
    believed text[],
    believed_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX twin_unsent ON devices.twin (device_id) WHERE sent_at IS NULL;
