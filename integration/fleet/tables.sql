-- What the replicas' jobs work on.
CREATE TABLE hits (
    tick timestamptz NOT NULL,
    run_id bigint NOT NULL,
    attempt int NOT NULL,
    replica text NOT NULL
);

CREATE TABLE items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    kind text NOT NULL DEFAULT 'plain',
    payload text NOT NULL DEFAULT repeat('x', 100),
    amount numeric(12, 2) NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    marked_by bigint
);
CREATE INDEX items_expire ON items (expires_at);
CREATE INDEX items_of_customer ON items (customer_id, created_at);
-- For the job `mark`, which goes through the rows in the order of their keys.
CREATE INDEX items_unmarked ON items (id) WHERE marked_by IS NULL;

-- Account of every row of items that the scheduler has changed. The application's
-- own changes are none of its business.
CREATE TABLE items_audit (
    op text NOT NULL,
    id bigint NOT NULL,
    marked_by bigint,
    application text NOT NULL DEFAULT current_setting('application_name'),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION audit_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO items_audit (op, id, marked_by)
    VALUES (TG_OP, OLD.id, CASE TG_OP WHEN 'UPDATE' THEN NEW.marked_by ELSE OLD.marked_by END);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE OR DELETE ON items FOR EACH ROW
    WHEN (current_setting('application_name') LIKE 'scheduler%')
    EXECUTE FUNCTION audit_items();
