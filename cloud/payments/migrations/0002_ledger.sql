-- Double entry. The database keeps the books balanced and unchanged, whoever writes to them.

CREATE TABLE payments.account (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    code text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('asset', 'liability', 'revenue', 'expense')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    UNIQUE (tenant, city, code, currency),
    UNIQUE (id, tenant, city, currency)
);

CREATE TABLE payments.entry (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    kind text NOT NULL,
    subject uuid NOT NULL,
    rental_id uuid NOT NULL,
    at timestamptz NOT NULL,
    -- The transaction that wrote it: postings come with their entry or not at all.
    written_by xid8 NOT NULL,
    UNIQUE (kind, subject),
    UNIQUE (id, tenant, city)
);
CREATE INDEX ON payments.entry (rental_id, at);

-- Positive is debit, negative is credit.
CREATE TABLE payments.posting (
    entry_id uuid NOT NULL,
    account_id uuid NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    currency text NOT NULL,
    PRIMARY KEY (entry_id, account_id),
    FOREIGN KEY (entry_id, tenant, city) REFERENCES payments.entry (id, tenant, city),
    FOREIGN KEY (account_id, tenant, city, currency)
        REFERENCES payments.account (id, tenant, city, currency)
);
CREATE INDEX ON payments.posting (account_id);

CREATE FUNCTION payments.check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    checked uuid := (to_jsonb(NEW) ->> TG_ARGV[0])::uuid;
BEGIN
    IF (SELECT count(*) FROM payments.posting WHERE entry_id = checked) < 2 THEN
        RAISE EXCEPTION 'ledger entry % has fewer than two postings', checked
            USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT FROM payments.posting WHERE entry_id = checked
               GROUP BY currency HAVING sum(amount_minor) <> 0) THEN
        RAISE EXCEPTION 'ledger entry % does not balance', checked
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER entry_balances AFTER INSERT ON payments.entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payments.check_balance('id');
CREATE CONSTRAINT TRIGGER posting_balances AFTER INSERT ON payments.posting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payments.check_balance('entry_id');

CREATE FUNCTION payments.mark_writer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.written_by := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER entry_writer BEFORE INSERT ON payments.entry
    FOR EACH ROW EXECUTE FUNCTION payments.mark_writer();

CREATE FUNCTION payments.check_writer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM payments.entry
                   WHERE id = NEW.entry_id AND written_by = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'ledger entry % is closed: write an entry of its own', NEW.entry_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER posting_writer BEFORE INSERT ON payments.posting
    FOR EACH ROW EXECUTE FUNCTION payments.check_writer();

CREATE FUNCTION payments.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is never changed: write what corrects it', TG_TABLE_NAME
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER account_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.account
    FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();
CREATE TRIGGER entry_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.entry
    FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();
CREATE TRIGGER posting_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.posting
    FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();
CREATE TRIGGER plan_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.plan
    FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();

-- The row of a counter is locked until the invoice is committed or its number is given back.
CREATE TABLE payments.counter (
    tenant text NOT NULL,
    city text NOT NULL,
    series text NOT NULL,
    last bigint NOT NULL CHECK (last >= 0),
    PRIMARY KEY (tenant, city, series)
);

CREATE TABLE payments.document (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
    series text NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    rental_id uuid NOT NULL,
    customer_id text NOT NULL,
    corrects uuid REFERENCES payments.document (id),
    reason text NOT NULL DEFAULT '',
    issued_at timestamptz NOT NULL,
    currency text NOT NULL,
    net_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    total_minor bigint NOT NULL CHECK (total_minor = net_minor + tax_minor),
    lines jsonb NOT NULL CHECK (jsonb_array_length(lines) > 0),
    seller jsonb NOT NULL,
    facts jsonb NOT NULL,
    price jsonb NOT NULL,
    UNIQUE (tenant, city, series, number),
    CHECK ((kind = 'credit_note') = (corrects IS NOT NULL))
);
CREATE UNIQUE INDEX document_one_invoice_a_rental ON payments.document (rental_id)
    WHERE kind = 'invoice';
CREATE INDEX ON payments.document (corrects);

CREATE FUNCTION payments.check_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.number > 1 AND NOT EXISTS (
        SELECT FROM payments.document WHERE tenant = NEW.tenant AND city = NEW.city
        AND series = NEW.series AND number = NEW.number - 1) THEN
        RAISE EXCEPTION 'number % of series % would leave a gap', NEW.number, NEW.series
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER document_number BEFORE INSERT ON payments.document
    FOR EACH ROW EXECUTE FUNCTION payments.check_number();
CREATE TRIGGER document_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.document
    FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();
