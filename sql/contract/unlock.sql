-- Releases those that would outlive the transaction.
SELECT pg_advisory_unlock_all()
