-- What was answered to a request with an Idempotency-Key, written in the request's own transaction.
-- asked is the sha256 of method, address and body: another request with the key is refused.
CREATE TABLE kit.idempotency (
    account_id uuid NOT NULL,
    key text NOT NULL,
    tenant text NOT NULL,
    city text NOT NULL,
    asked bytea NOT NULL,
    status smallint NOT NULL,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    answered_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_by_time ON kit.idempotency (answered_at);
