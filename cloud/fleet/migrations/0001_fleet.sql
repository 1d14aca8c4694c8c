CREATE SCHEMA IF NOT EXISTS fleet;

CREATE TABLE fleet.vehicle (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    device_id text NOT NULL UNIQUE,
    type text NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL
);
