CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE SCHEMA IF NOT EXISTS booking;

-- One calendar a vehicle: whatever takes it is a row, and no two live rows overlap.
-- `during` is [) and has the turnaround inside; expires_at is when a hold ends to the second.
CREATE TABLE booking.calendar (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    vehicle_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('rental', 'maintenance', 'move', 'swap', 'securing')),
    state text NOT NULL CHECK (state IN ('held', 'confirmed', 'active', 'blocked',
        'done', 'expired', 'cancelled')),
    during tstzrange NOT NULL CHECK (NOT isempty(during) AND lower_inc(during)
        AND NOT lower_inf(during) AND NOT upper_inc(during)),
    customer_id text,
    expires_at timestamptz,
    quote jsonb,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    CHECK (state <> 'held' OR (expires_at IS NOT NULL AND expires_at <= upper(during))),
    CHECK (kind <> 'rental' OR customer_id IS NOT NULL),
    CONSTRAINT no_double_booking EXCLUDE USING gist (vehicle_id WITH =, during WITH &&)
        WHERE (state IN ('held', 'confirmed', 'active', 'blocked'))
);
CREATE INDEX calendar_live ON booking.calendar (vehicle_id)
    WHERE state IN ('held', 'confirmed', 'active', 'blocked');
CREATE INDEX calendar_expiring ON booking.calendar (expires_at) WHERE state = 'held';
CREATE INDEX calendar_by_customer ON booking.calendar (customer_id, created_at);

-- A rental, and how far its story got. command_id is the newest command it asked for: an older
-- one's answer moves nothing. deadline is when the present step is given up.
CREATE TABLE booking.rental (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    calendar_id uuid NOT NULL UNIQUE REFERENCES booking.calendar (id),
    vehicle_id text NOT NULL,
    vehicle_type text NOT NULL,
    customer_id text NOT NULL,
    group_id uuid,
    state text NOT NULL CHECK (state IN ('authorising', 'unlocking', 'riding', 'pausing',
        'paused', 'resuming', 'ending', 'locked', 'accepted', 'ended', 'cancelled')),
    quote jsonb NOT NULL,
    method_id text NOT NULL,
    command_id uuid,
    deadline timestamptz,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    end_requested_at timestamptz,
    ended_at timestamptz,
    called_off boolean NOT NULL DEFAULT false,
    is_unpaid boolean NOT NULL DEFAULT false,
    reason text NOT NULL DEFAULT ''
) WITH (fillfactor = 80);
-- One rental a customer, unless they ride in a group. An accepted one only waits for its lock.
CREATE UNIQUE INDEX one_active_rental ON booking.rental (tenant, customer_id)
    WHERE group_id IS NULL AND state NOT IN ('accepted', 'ended', 'cancelled');
CREATE INDEX rental_by_customer ON booking.rental (customer_id, created_at);

-- What happened in a rental, by the edge's times. boot and mono_s are its monotonic clock, null
-- where the device did not say; told_at is when the cloud heard of it.
CREATE TABLE booking.timeline (
    rental_id uuid NOT NULL REFERENCES booking.rental (id),
    seq integer NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    boot text,
    mono_s double precision,
    lat double precision,
    lon double precision,
    accuracy_m double precision,
    detail text NOT NULL DEFAULT '',
    told_at timestamptz NOT NULL,
    PRIMARY KEY (rental_id, seq)
);

-- What a rental asked of its vehicle, and what came of it; attempt counts repeats.
CREATE TABLE booking.command (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    rental_id uuid NOT NULL REFERENCES booking.rental (id),
    vehicle_id text NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('unlock', 'pause', 'resume', 'end', 'secure')),
    attempt integer NOT NULL,
    asked_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    ended_at timestamptz
);

-- What search knows of a vehicle: a copy, fed by events and by what telemetry last heard.
CREATE TABLE booking.vehicle (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    device_id text NOT NULL UNIQUE,
    type text NOT NULL,
    name text NOT NULL,
    rentable boolean NOT NULL,
    place point,
    soc_pct double precision,
    seen_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX vehicle_place ON booking.vehicle USING gist (place) WHERE rentable;
