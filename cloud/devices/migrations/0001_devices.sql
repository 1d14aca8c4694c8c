CREATE SCHEMA IF NOT EXISTS devices;

CREATE TABLE devices.device (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    battery text NOT NULL,
    enrolled_at timestamptz NOT NULL,
    agent_version text NOT NULL DEFAULT '',
    capabilities text[] NOT NULL DEFAULT '{}'
);

CREATE TABLE devices.presence (
    device_id text PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    nonce text NOT NULL,
    boot_id bigint NOT NULL,
    connected boolean NOT NULL,
    last_heard_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- One row says what is committed of a lane; it outlives the segments themselves.
CREATE TABLE devices.ledger (
    device_id text NOT NULL,
    lane smallint NOT NULL,
    epoch text NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    through_seq bigint NOT NULL DEFAULT 0,
    have int8multirange NOT NULL DEFAULT '{}',
    segments bigint NOT NULL DEFAULT 0,
    records bigint NOT NULL DEFAULT 0,
    repeats bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    -- What the last hello told of the device's clock, for records sealed before it knew itself.
    clock_boot_id bigint NOT NULL DEFAULT 0,
    clock_offset_ms bigint NOT NULL DEFAULT 0,
    clock_sent_at_ms bigint NOT NULL DEFAULT 0,
    clock_through_seq bigint NOT NULL DEFAULT 0,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (device_id, lane, epoch)
) WITH (fillfactor = 70);

CREATE TABLE devices.gap (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id text NOT NULL,
    lane smallint NOT NULL,
    epoch text NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    from_seq bigint NOT NULL,
    to_seq bigint NOT NULL,
    reason text NOT NULL,
    noted_at timestamptz NOT NULL,
    CHECK (from_seq <= to_seq)
);
CREATE INDEX gap_by_device ON devices.gap (device_id, lane, epoch, from_seq);

-- The last payload of a device whose header could not be read: it cannot be acked, only looked at.
CREATE TABLE devices.unreadable (
    device_id text PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    times bigint NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL,
    received_at timestamptz NOT NULL
);
