-- A return is void when its vehicle moved as it was to lock: the ride goes on, and its next end takes the row over.
ALTER TABLE returns.return
    DROP CONSTRAINT return_state_check,
    ADD CONSTRAINT return_state_check
        CHECK (state IN ('photo_needed', 'accepted', 'pending', 'rejected', 'void'));

-- A screen and no photo.
ALTER TABLE returns.photo ADD COLUMN is_screenshot boolean NOT NULL DEFAULT false;
