-- The log of everything that happened: append-only, one row an event, CloudEvents attributes.
CREATE TABLE kit.event (
    id uuid PRIMARY KEY,
    type text NOT NULL,
    source text NOT NULL,
    subject text NOT NULL,
    "time" timestamptz NOT NULL,
    due timestamptz NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    data jsonb NOT NULL
);
CREATE INDEX event_by_time ON kit.event ("time");
CREATE INDEX event_by_subject ON kit.event (subject, "time");

CREATE FUNCTION kit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'kit.event is append-only: publish a new event instead';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE ON kit.event
    FOR EACH STATEMENT EXECUTE FUNCTION kit.refuse_change();

-- Who wants what. A row an event type and subscriber, written when a process starts.
CREATE TABLE kit.subscription (
    subscriber text NOT NULL,
    event_type text NOT NULL,
    PRIMARY KEY (event_type, subscriber)
);

-- What a subscriber has dealt with, written in its own transaction: a repeat changes nothing.
CREATE TABLE kit.delivered (
    event_id uuid NOT NULL,
    subscriber text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (event_id, subscriber)
);

-- Record an event and queue one job a subscriber, in the caller's transaction.
-- The delay only wakes the worker; the due column decides.
CREATE FUNCTION kit.publish(
    p_id uuid, p_type text, p_source text, p_subject text, p_time timestamptz, p_due timestamptz,
    p_tenant text, p_city text, p_data jsonb
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kit.event (id, type, source, subject, "time", due, tenant, city, data)
    VALUES (p_id, p_type, p_source, p_subject, p_time, p_due, p_tenant, p_city, p_data);
    IF EXISTS (SELECT FROM kit.subscription WHERE event_type = p_type) THEN
        INSERT INTO pgqueuer.pgqueuer (priority, status, entrypoint, payload, execute_after)
        SELECT 0, 'queued', subscriber, convert_to(p_id::text, 'UTF8'),
            transaction_timestamp() + (p_due - p_time)
        FROM kit.subscription WHERE event_type = p_type;
    END IF;
END $$;
