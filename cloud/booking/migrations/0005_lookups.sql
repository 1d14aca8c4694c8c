-- Asked at every repetition of a lock, and by the staff's list.
CREATE INDEX command_of_rental ON booking.command (rental_id, purpose, asked_at DESC);
CREATE INDEX rental_in_city ON booking.rental (tenant, city, created_at DESC, id DESC);
-- Nothing asks by these.
DROP INDEX booking.calendar_expiring;
DROP INDEX booking.calendar_by_customer;
