-- A person decides what nobody could tell: it is good, it is not, or its rider is asked for one
-- more photo. Not good costs nothing by itself.
ALTER TABLE returns.return
    ADD COLUMN photo_asked_until timestamptz,
    ADD COLUMN note text NOT NULL DEFAULT '',
    DROP CONSTRAINT return_state_check,
    ADD CONSTRAINT return_state_check
        CHECK (state IN ('photo_needed', 'accepted', 'pending', 'rejected')),
    ADD CONSTRAINT return_photo_asked_check CHECK (photo_asked_until IS NULL OR state = 'pending');

-- What people chose, each a label of the decision that had sent the return to them: its verifier
-- has its version in its name. Never changed.
CREATE TABLE returns.review (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    city text NOT NULL,
    rental_id uuid NOT NULL REFERENCES returns.return,
    decision_id uuid NOT NULL REFERENCES returns.decision,
    at timestamptz NOT NULL,
    choice text NOT NULL CHECK (choice IN ('approve', 'reject', 'ask')),
    reason text NOT NULL,
    reviewer_id uuid NOT NULL,
    reviewer text NOT NULL,
    verifier text NOT NULL,
    confidence double precision,
    policy text NOT NULL
);
CREATE INDEX review_by_rental ON returns.review (rental_id, at);
