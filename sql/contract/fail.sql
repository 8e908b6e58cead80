-- Fails, as where a server lacks something, and with it the transaction.
DO $$ BEGIN RAISE EXCEPTION 'the contract test has made this statement fail' USING ERRCODE = '53000'; END $$
