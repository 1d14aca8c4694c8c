CREATE SCHEMA IF NOT EXISTS payments;

-- Who sells: one legal seller a city. Invoices keep a copy of what it was.
CREATE TABLE payments.seller (
    tenant text NOT NULL,
    city text NOT NULL,
    legal_name text NOT NULL,
    vat_id text NOT NULL,
    address text NOT NULL,
    prefix text NOT NULL,
    dispute_url text NOT NULL,
    dispute_days integer NOT NULL CHECK (dispute_days > 0),
    terms_version text NOT NULL,
    PRIMARY KEY (tenant, city),
    UNIQUE (tenant, prefix)
);

-- A plan never changes: another price is a row with a later valid_from.
CREATE TABLE payments.plan (
    tenant text NOT NULL,
    city text NOT NULL,
    plan_id text NOT NULL,
    valid_from timestamptz NOT NULL,
    document jsonb NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, city, plan_id, valid_from)
);

-- The provider's token of a card; never the card.
CREATE TABLE payments.method (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    customer_id text NOT NULL,
    provider text NOT NULL,
    token text NOT NULL,
    last4 text NOT NULL,
    added_at timestamptz NOT NULL,
    removed_at timestamptz
);
CREATE INDEX ON payments.method (customer_id) WHERE removed_at IS NULL;

CREATE TABLE payments.authorisation (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    rental_id uuid NOT NULL,
    customer_id text NOT NULL,
    method_id uuid NOT NULL REFERENCES payments.method (id),
    provider text NOT NULL,
    currency text NOT NULL,
    asked_minor bigint NOT NULL CHECK (asked_minor > 0),
    held_minor bigint NOT NULL DEFAULT 0 CHECK (held_minor >= 0),
    captured_minor bigint NOT NULL DEFAULT 0 CHECK (captured_minor BETWEEN 0 AND held_minor),
    refunded_minor bigint NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    state text NOT NULL CHECK (state IN ('asked', 'unknown', 'authorised', 'declined',
        'capturing', 'captured', 'capture_failed', 'releasing', 'released')),
    code text NOT NULL DEFAULT '',
    payment text NOT NULL DEFAULT '',
    last4 text NOT NULL DEFAULT '',
    capture_before timestamptz,
    top_up_failed_at timestamptz,
    asked_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX authorisation_one_a_rental ON payments.authorisation (rental_id)
    WHERE state NOT IN ('declined', 'released');
CREATE INDEX ON payments.authorisation (rental_id, asked_at);

-- What a provider is asked for. Its id is the key that it is asked by, however often.
CREATE TABLE payments.operation (
    id uuid PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    tenant text NOT NULL,
    city text NOT NULL,
    authorisation_id uuid NOT NULL REFERENCES payments.authorisation (id),
    kind text NOT NULL CHECK (kind IN ('authorise', 'increment', 'capture', 'cancel', 'refund')),
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    currency text NOT NULL,
    document_id uuid,
    state text NOT NULL CHECK (state IN ('asked', 'unknown', 'done', 'failed')),
    code text NOT NULL DEFAULT '',
    attempts integer NOT NULL DEFAULT 0,
    due timestamptz NOT NULL,
    leased_until timestamptz,
    asked_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX operation_open ON payments.operation (due) WHERE state IN ('asked', 'unknown');
CREATE INDEX ON payments.operation (authorisation_id, seq);
CREATE UNIQUE INDEX operation_once ON payments.operation (authorisation_id, kind)
    WHERE kind IN ('authorise', 'capture', 'cancel');

-- What providers told, once each.
CREATE TABLE payments.webhook (
    provider text NOT NULL,
    event_id text NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    type text NOT NULL,
    body jsonb NOT NULL,
    heard_at timestamptz NOT NULL,
    PRIMARY KEY (provider, event_id)
);

-- What the nightly comparison found.
CREATE TABLE payments.finding (
    provider text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('missing_there', 'missing_here', 'doubled', 'altered')),
    subject text NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    ours jsonb,
    theirs jsonb,
    found_at timestamptz NOT NULL,
    PRIMARY KEY (provider, kind, subject)
);
