-- Customers are accounts too: they have a role, and sign in by their e-mail address. Their account's name is a
-- pseudonym, because names are in the audit chain, which forgets nothing.
ALTER TABLE identity.account
    DROP CONSTRAINT account_kind_check,
    DROP CONSTRAINT account_check,
    DROP CONSTRAINT account_check1,
    ADD CONSTRAINT account_kind_check CHECK (kind IN ('staff', 'service', 'customer')),
    ADD CONSTRAINT account_people_have_a_role CHECK ((kind = 'service') = (role = '')),
    ADD CONSTRAINT account_only_programs_have_scopes CHECK (kind = 'service' OR scopes = '{}'),
    ADD CONSTRAINT account_customers_role CHECK ((kind = 'customer') = (role = 'customer'));

-- Sign-ups are counted beside wrong passwords, by e-mail address and by where they come from.
ALTER TABLE identity.attempts
    DROP CONSTRAINT attempts_kind_check,
    ADD CONSTRAINT attempts_kind_check CHECK (kind IN ('user', 'address', 'sign_up', 'sign_up_address'));

CREATE TABLE identity.customer (
    account_id uuid PRIMARY KEY REFERENCES identity.account (id),
    tenant text NOT NULL,
    city text NOT NULL,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    language text NOT NULL,
    time_zone text NOT NULL,
    verified_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Who asked for an account and has not followed the link yet. Verified ones stay a while without what they
-- said, so that a second click is told that the first one worked.
CREATE TABLE identity.sign_up (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    language text NOT NULL,
    time_zone text NOT NULL,
    password_hash text NOT NULL,
    consents jsonb NOT NULL,
    asked_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    verified_at timestamptz
);
CREATE INDEX ON identity.sign_up (email) WHERE verified_at IS NULL;
CREATE INDEX ON identity.sign_up (expires_at);

-- Mail that identity owes somebody, and what became of it.
CREATE TABLE identity.letter (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    email text NOT NULL,
    language text NOT NULL,
    sign_up_id uuid REFERENCES identity.sign_up (id) ON DELETE CASCADE,
    asked_at timestamptz NOT NULL,
    done_at timestamptz,
    outcome text CHECK (outcome IN ('sent', 'not_needed', 'refused')),
    CHECK ((done_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX ON identity.letter (asked_at);
CREATE INDEX ON identity.letter (sign_up_id);

-- What customers are asked to agree to. A version that is in force is never changed: add another.
CREATE TABLE identity.document (
    tenant text NOT NULL,
    city text NOT NULL,
    document text NOT NULL CHECK (document ~ '^[a-z][a-z_]{0,31}$'),
    version text NOT NULL CHECK (version ~ '^[0-9A-Za-z.-]{1,32}$'),
    required boolean NOT NULL,
    titles jsonb NOT NULL,
    texts jsonb NOT NULL,
    valid_from timestamptz NOT NULL,
    PRIMARY KEY (tenant, city, document, version),
    UNIQUE (tenant, city, document, valid_from)
);
INSERT INTO identity.document (tenant, city, document, version, required, titles, texts, valid_from) VALUES
    ('demo', 'demo', 'terms', '1', true,
     '{"en": "Terms of use", "de": "Nutzungsbedingungen"}',
     '{"en": "Demo text: your rides are simulated and nobody is charged.", "de": "Demotext: Fahrten sind simuliert, niemand zahlt."}',
     '2026-01-01T00:00:00Z'),
    ('demo', 'demo', 'privacy', '1', true,
     '{"en": "Privacy notice", "de": "Datenschutzhinweise"}',
     '{"en": "Demo text: what you enter stays in this installation.", "de": "Demotext: Ihre Angaben bleiben in dieser Installation."}',
     '2026-01-01T00:00:00Z'),
    ('demo', 'demo', 'marketing', '1', false,
     '{"en": "News by e-mail", "de": "Neuigkeiten per E-Mail"}',
     '{"en": "We may write to you about news and offers.", "de": "Wir dürfen Ihnen über Neues und Angebote schreiben."}',
     '2026-01-01T00:00:00Z');

-- Every yes and every no, in order; the newest one counts. It only grows.
CREATE TABLE identity.consent (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    account_id uuid NOT NULL REFERENCES identity.account (id),
    document text NOT NULL,
    version text NOT NULL,
    given boolean NOT NULL,
    at timestamptz NOT NULL,
    FOREIGN KEY (tenant, city, document, version) REFERENCES identity.document (tenant, city, document, version)
);
CREATE INDEX ON identity.consent (account_id, seq);

CREATE FUNCTION identity.refuse_edit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: add a row that says what is so now', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER consent_only_grows BEFORE UPDATE ON identity.consent
    FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_edit();
CREATE TRIGGER document_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON identity.document
    FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_edit();

-- A provider's token for a card, never the card's number.
CREATE TABLE identity.payment_method (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    account_id uuid NOT NULL REFERENCES identity.account (id),
    provider text NOT NULL,
    token text NOT NULL,
    last4 text NOT NULL CHECK (last4 ~ '^[0-9]{4}$'),
    brand text NOT NULL,
    added_at timestamptz NOT NULL,
    removed_at timestamptz,
    CHECK ((token = '') = (removed_at IS NOT NULL))
);
CREATE UNIQUE INDEX ON identity.payment_method (account_id, provider, token) WHERE removed_at IS NULL;
