CREATE SCHEMA IF NOT EXISTS returns;

-- Somebody wanted to end where it could not be: what they were told, and when. The walk from a full
-- bay is not billed, and a fee is charged only to whom it was told before.
CREATE TABLE returns.attempt (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    rental_id uuid NOT NULL,
    at timestamptz NOT NULL,
    told text NOT NULL CHECK (told IN ('bay_full', 'move_or_accept')),
    fee_minor bigint NOT NULL,
    "position" jsonb,
    ground jsonb NOT NULL
);
CREATE INDEX attempt_by_rental ON returns.attempt (rental_id, at);

-- How a rental's end stands. There is one for each, so that nothing is charged or fined twice.
CREATE TABLE returns.return (
    rental_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    vehicle_id text NOT NULL,
    customer_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('photo_needed', 'accepted', 'pending')),
    reasons text[] NOT NULL,
    requested_at timestamptz NOT NULL,
    called_off boolean NOT NULL,
    "position" jsonb,
    phone jsonb,
    ground jsonb NOT NULL,
    bay_id uuid,
    place_number integer,
    fee_minor bigint NOT NULL CHECK (fee_minor >= 0),
    currency text NOT NULL,
    retakes integer NOT NULL,
    deadline timestamptz,
    review_by timestamptz,
    decided_at timestamptz,
    CHECK ((state = 'photo_needed') = (decided_at IS NULL)),
    CHECK ((state = 'pending') = (review_by IS NOT NULL))
);
CREATE INDEX return_to_review ON returns.return (tenant, city, review_by) WHERE state = 'pending';

-- What was decided, by whom and on what; never changed.
CREATE TABLE returns.decision (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    rental_id uuid NOT NULL REFERENCES returns.return,
    at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('accepted', 'retake', 'review')),
    reasons text[] NOT NULL,
    verifier text NOT NULL,
    confidence double precision,
    policy text NOT NULL,
    evidence jsonb NOT NULL
);
CREATE INDEX decision_by_rental ON returns.decision (rental_id, at);

-- Photos: the file is what we encoded anew, without its EXIF; what EXIF said is kept here.
-- phash is a perceptual hash; two that differ in at most three bits share a band of sixteen.
CREATE TABLE returns.photo (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    rental_id uuid NOT NULL,
    customer_id text NOT NULL,
    key text NOT NULL,
    format text NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    phash bigint NOT NULL,
    bands integer[] NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    brightness double precision NOT NULL,
    sharpness double precision NOT NULL,
    taken_at timestamptz,
    lat double precision,
    lon double precision,
    seen_before boolean NOT NULL,
    faults text[] NOT NULL,
    received_at timestamptz NOT NULL,
    keep_until timestamptz NOT NULL,
    is_gone boolean NOT NULL DEFAULT false
);
CREATE INDEX photo_by_rental ON returns.photo (rental_id, received_at);
CREATE INDEX photo_sha256 ON returns.photo (sha256);
CREATE INDEX photo_bands ON returns.photo USING gin (bands);
CREATE INDEX photo_keep_until ON returns.photo (keep_until) WHERE NOT is_gone;
