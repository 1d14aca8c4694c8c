-- A hold ends by itself after some days; a rental that lasts longer needs it renewed in time.
CREATE INDEX authorisation_ending ON payments.authorisation (capture_before) WHERE state = 'authorised';
