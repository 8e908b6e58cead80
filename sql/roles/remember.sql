-- What a later migration adds, "scheduler migrate up" gives the roles that it finds here,
-- each no more than it needs. No default privileges: nothing that is new is writable unless
-- somebody meant it.
INSERT INTO scheduler.role_grants (role_name, kind)
VALUES ({reader_literal}, 'reader'), ({operator_literal}, 'operator'), ({serve_literal}, 'serve')
ON CONFLICT DO NOTHING;
