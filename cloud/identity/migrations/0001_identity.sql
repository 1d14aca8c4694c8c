CREATE SCHEMA IF NOT EXISTS identity;

CREATE TABLE identity.account (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    name text NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('staff', 'service')),
    role text NOT NULL,
    scopes text[] NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL,
    password_changed_at timestamptz NOT NULL,
    disabled_at timestamptz,
    -- People have a role, programs have scopes.
    CHECK ((kind = 'staff') = (role <> '')),
    CHECK (kind = 'service' OR scopes = '{}')
);

-- One sign-in and all the refresh tokens that follow from it. A page's session has a secret of its own
-- and no refresh tokens.
CREATE TABLE identity.session (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    account_id uuid NOT NULL REFERENCES identity.account (id),
    kind text NOT NULL CHECK (kind IN ('token', 'page')),
    secret_hash bytea UNIQUE,
    asked_scopes text[],
    started_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text,
    CHECK ((kind = 'page') = (secret_hash IS NOT NULL)),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX ON identity.session (account_id) WHERE ended_at IS NULL;
CREATE INDEX ON identity.session (expires_at);

CREATE TABLE identity.refresh_token (
    hash bytea PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    session_id uuid NOT NULL REFERENCES identity.session (id) ON DELETE CASCADE,
    issued_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX ON identity.refresh_token (session_id);

-- Wrong passwords of the last minutes, by user name (known or not) and by address; both only as hashes.
CREATE TABLE identity.attempts (
    kind text NOT NULL CHECK (kind IN ('user', 'address')),
    subject bytea NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    failed_at timestamptz[] NOT NULL DEFAULT '{}',
    locked_until timestamptz,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX ON identity.attempts (changed_at);

-- Each row's hash covers the row and the hash before it; the head says where the chain ends.
CREATE TABLE identity.audit (
    seq bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    actor text NOT NULL,
    actor_kind text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL,
    prev_hash text NOT NULL,
    hash text NOT NULL
);

CREATE TABLE identity.audit_head (
    is_it boolean PRIMARY KEY DEFAULT true CHECK (is_it),
    seq bigint NOT NULL,
    hash text NOT NULL
);
INSERT INTO identity.audit_head (seq, hash) VALUES (0, repeat('0', 64));

CREATE FUNCTION identity.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: the audit chain only grows', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON identity.audit
    FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_change();
CREATE TRIGGER audit_head_stays BEFORE DELETE OR TRUNCATE ON identity.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_change();
