-- A one-time permission to enrol. Only its sha256 is kept; voiding one ends its time.
CREATE TABLE devices.claim (
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),
    device_id text NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    made_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX claim_by_device ON devices.claim (device_id, made_at);

-- Every certificate that was ever issued; serial and fingerprint are lower hex.
CREATE TABLE devices.certificate (
    serial text PRIMARY KEY,
    device_id text NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    fingerprint text NOT NULL UNIQUE,
    issued_at timestamptz NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text,
    CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
);
CREATE INDEX certificate_by_device ON devices.certificate (device_id, issued_at);
