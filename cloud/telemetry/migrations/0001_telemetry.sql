CREATE SCHEMA IF NOT EXISTS telemetry;

-- The segment is the store: its payload lies here exactly as the vehicle sealed it.
CREATE TABLE telemetry.segment (
    device_id text NOT NULL,
    lane smallint NOT NULL,
    epoch text NOT NULL,
    first_seq bigint NOT NULL,
    n integer NOT NULL,
    t_min timestamptz NOT NULL,
    t_max timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    retimed integer NOT NULL,
    offset_ms bigint NOT NULL, -- what was added to the device's times; the payload keeps them
    quarantine text,
    tenant text NOT NULL,
    city text NOT NULL,
    payload bytea STORAGE EXTERNAL NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX segment_by_device ON telemetry.segment (device_id, t_max);

-- Partial sums of wire values: one row for each minute a batch touched, added up when read.
CREATE TABLE telemetry.minute_part (
    device_id text NOT NULL,
    minute timestamptz NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    signals smallint[] NOT NULL,
    counts integer[] NOT NULL,
    sums bigint[] NOT NULL,
    lows bigint[] NOT NULL,
    highs bigint[] NOT NULL
) PARTITION BY RANGE (minute);
CREATE INDEX minute_part_by_device ON telemetry.minute_part (device_id, minute);
CREATE TABLE telemetry.minute_part_other PARTITION OF telemetry.minute_part DEFAULT;

-- state: {signal id: [wire value, corrected Unix milliseconds]}
CREATE TABLE telemetry.last_state (
    device_id text PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    state jsonb NOT NULL DEFAULT '{}',
    changed_at timestamptz NOT NULL
) WITH (fillfactor = 50);
