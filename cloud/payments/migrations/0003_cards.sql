-- Identity keeps customers' cards. A hold keeps the token that it was asked with, because a card may be removed
-- while a hold on it lasts; a free ride holds nothing, on no card.
ALTER TABLE payments.authorisation
    ADD COLUMN token text NOT NULL DEFAULT '',
    ALTER COLUMN method_id DROP NOT NULL,
    DROP CONSTRAINT authorisation_method_id_fkey,
    DROP CONSTRAINT authorisation_asked_minor_check,
    ADD CONSTRAINT authorisation_asked_minor_check CHECK (asked_minor >= 0),
    ADD CONSTRAINT authorisation_without_card_holds_nothing CHECK (method_id IS NOT NULL OR asked_minor = 0);
UPDATE payments.authorisation SET token = method.token FROM payments.method WHERE method.id = method_id;
DROP TABLE payments.method;
