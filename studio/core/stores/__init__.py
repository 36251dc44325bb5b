"""The only home of SQL. Stores speak in frozen values; no session or row leaves them."""
