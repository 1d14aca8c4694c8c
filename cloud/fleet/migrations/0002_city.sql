CREATE TABLE fleet.vehicle_type (
    tenant text NOT NULL,
    city text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('scooter', 'bike', 'car', 'van')),
    form_factor text NOT NULL,
    propulsion text NOT NULL,
    max_range_m integer NOT NULL CHECK (max_range_m > 0),
    PRIMARY KEY (tenant, city, id)
);

INSERT INTO fleet.vehicle_type (tenant, city, id, name, kind, form_factor, propulsion, max_range_m)
SELECT place.tenant, place.city, known.*
FROM (SELECT DISTINCT tenant, city FROM fleet.vehicle) AS place
CROSS JOIN (VALUES
    ('e_scooter', 'E-scooter', 'scooter', 'scooter_standing', 'electric', 40000),
    ('e_bike', 'E-bike', 'bike', 'bicycle', 'electric_assist', 80000),
    ('e_car', 'E-car', 'car', 'car', 'electric', 300000),
    ('e_van', 'E-van', 'van', 'car', 'electric', 250000)
) AS known;

-- `state` is the MDS state that is shown, `life` the one beneath lost contact, `home` the one that a
-- vehicle outside the city comes back to. `state_at` is since when `life` is so.
ALTER TABLE fleet.vehicle
    ADD COLUMN vehicle_type_id text,
    ADD COLUMN plate text,
    ADD COLUMN life text,
    ADD COLUMN home text,
    ADD COLUMN state_at timestamptz;
UPDATE fleet.vehicle SET
    vehicle_type_id = CASE type
        WHEN 'bike' THEN 'e_bike' WHEN 'car' THEN 'e_car' WHEN 'van' THEN 'e_van' ELSE 'e_scooter'
    END,
    life = state,
    state_at = created_at;
ALTER TABLE fleet.vehicle
    ALTER COLUMN vehicle_type_id SET NOT NULL,
    ALTER COLUMN life SET NOT NULL,
    ALTER COLUMN state_at SET NOT NULL,
    ADD FOREIGN KEY (tenant, city, vehicle_type_id) REFERENCES fleet.vehicle_type;

-- What happened to vehicles, by its true time. `moved` is false for what came too late to move them.
CREATE TABLE fleet.vehicle_state_event (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    vehicle_id text NOT NULL REFERENCES fleet.vehicle,
    event text NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    life text NOT NULL,
    home text,
    trip_id uuid,
    occurred_at timestamptz NOT NULL,
    published_at timestamptz NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    moved boolean NOT NULL,
    UNIQUE NULLS NOT DISTINCT (vehicle_id, event, occurred_at, trip_id)
);
CREATE INDEX vehicle_state_event_time ON fleet.vehicle_state_event (vehicle_id, occurred_at, number);

CREATE TABLE fleet.bay (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    area jsonb NOT NULL,
    lat double precision NOT NULL,
    lon double precision NOT NULL,
    extent box NOT NULL,
    UNIQUE (tenant, city, key)
);
CREATE INDEX bay_extent ON fleet.bay USING gist (extent);

-- One row is room for one vehicle: two never share it, and a vehicle never has two.
CREATE TABLE fleet.place (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    bay_id uuid NOT NULL REFERENCES fleet.bay,
    number integer NOT NULL CHECK (number > 0),
    vehicle_type_ids text[] NOT NULL,
    evse_id text,
    vehicle_id text UNIQUE REFERENCES fleet.vehicle,
    taken text CHECK (taken IN ('reserved', 'occupied')),
    reserved_until timestamptz,
    UNIQUE (bay_id, number),
    CHECK ((vehicle_id IS NULL) = (taken IS NULL)),
    CHECK ((reserved_until IS NOT NULL) = (taken IS NOT DISTINCT FROM 'reserved'))
);

CREATE TABLE fleet.zone (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    key text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('service_area', 'no_parking', 'slow')),
    name text NOT NULL,
    area jsonb NOT NULL,
    extent box NOT NULL,
    station_parking boolean NOT NULL,
    speed_limit_kmh integer CHECK (speed_limit_kmh BETWEEN 3 AND 45),
    UNIQUE (tenant, city, key),
    CHECK ((speed_limit_kmh IS NOT NULL) = (kind = 'slow'))
);
CREATE INDEX zone_extent ON fleet.zone USING gist (extent);
