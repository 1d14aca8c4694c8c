-- How many connections of a device the gate let in; and at its last hello that could be judged: that
-- count, and how many its agent's run said to have tried. More let in than tried: somebody else was it.
ALTER TABLE devices.presence
    ADD COLUMN admitted bigint NOT NULL DEFAULT 0,
    ADD COLUMN admitted_at timestamptz,
    ADD COLUMN judged_admitted bigint NOT NULL DEFAULT 0,
    ADD COLUMN judged_tried bigint NOT NULL DEFAULT 0;
