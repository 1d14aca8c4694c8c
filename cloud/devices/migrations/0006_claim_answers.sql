-- What a claim was answered with, so that a lost answer can be given again to the same key.
ALTER TABLE devices.claim ADD COLUMN serial text, ADD COLUMN certificate_pem text,
    ADD CHECK ((serial IS NULL) = (certificate_pem IS NULL));
