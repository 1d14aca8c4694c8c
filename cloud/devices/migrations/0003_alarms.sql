-- What a person must look at. One open alarm of a kind for each device; sightings are counted.
CREATE TABLE devices.alarm (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id text NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    kind text NOT NULL,
    detail jsonb NOT NULL,
    raised_at timestamptz NOT NULL,
    times bigint NOT NULL DEFAULT 1,
    last_at timestamptz NOT NULL,
    cleared_at timestamptz
);
CREATE UNIQUE INDEX alarm_open ON devices.alarm (device_id, kind) WHERE cleared_at IS NULL;
CREATE INDEX alarm_by_device ON devices.alarm (device_id, raised_at);

-- Runs of the agent before the present one: one that comes back gives a clone away.
ALTER TABLE devices.presence ADD COLUMN superseded_boots bigint[] NOT NULL DEFAULT '{}';
