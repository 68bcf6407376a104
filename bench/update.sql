-- The yardstick: one row by its primary key, each client its own.
update counters set value = value + 1, at = clock_timestamp() where id = :client_id;
