-- A letter says what it is about; `used_at`: its link has set a new password, or another one has.
ALTER TABLE identity.letter
    ADD COLUMN kind text NOT NULL DEFAULT 'sign_up' CHECK (kind IN ('sign_up', 'reset', 'password_changed')),
    ADD COLUMN used_at timestamptz,
    ADD CONSTRAINT letter_only_resets_are_used CHECK (used_at IS NULL OR kind = 'reset');
CREATE INDEX ON identity.letter (email) WHERE kind = 'reset' AND used_at IS NULL;

ALTER TABLE identity.attempts
    DROP CONSTRAINT attempts_kind_check,
    ADD CONSTRAINT attempts_kind_check
        CHECK (kind IN ('user', 'address', 'sign_up', 'sign_up_address', 'reset', 'reset_address'));
