-- A running rental may be paid with another card: the operation says which, the hold has it once it is held there.
ALTER TABLE payments.operation
    ADD COLUMN method_id uuid,
    ADD COLUMN token text NOT NULL DEFAULT '',
    ADD COLUMN last4 text NOT NULL DEFAULT '',
    DROP CONSTRAINT operation_kind_check,
    ADD CONSTRAINT operation_kind_check
        CHECK (kind IN ('authorise', 'increment', 'replace', 'capture', 'cancel', 'refund')),
    ADD CONSTRAINT operation_replace_has_a_card CHECK ((kind = 'replace') = (method_id IS NOT NULL));
