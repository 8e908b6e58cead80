-- Turns the tables of schema.sql, seeded or not, into those of an older install:
-- no governance_decisions, no state bindings, no JTI revocations, no ID-JAG
-- replays, and no user_contexts.kind. Apply it last.

-- What only these could spare goes with them, so that the prefixes of seed.sql
-- (gone-, kept-) keep telling the truth: an older install never had such rows.
DELETE FROM user_contexts
WHERE kind = 'cli_session'
   OR context_id IN (SELECT context_id FROM governance_decisions);

ALTER TABLE user_contexts DROP COLUMN kind;

DROP TABLE governance_decisions, oauth_state_bindings, oauth_jti_revocations, id_jag_replay;
