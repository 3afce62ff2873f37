-- A database that knows what should be in it: each transaction that changes anything enters into the ledger a checksum
-- of all rows of all other tables as they are after it.

CREATE SCHEMA soak;
SET search_path = soak;

CREATE TABLE ledger (n bigint PRIMARY KEY, checksum numeric NOT NULL, what text NOT NULL);
INSERT INTO ledger VALUES (0, 0, 'the beginning');

CREATE FUNCTION total(name name) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE found numeric;
BEGIN
    EXECUTE format('SELECT coalesce(sum(hashtextextended(%L || r::text, 0)), 0) FROM soak.%I r', name, name) INTO found;
    RETURN found;
END $$;

-- What this transaction changed so far.
CREATE FUNCTION change() RETURNS numeric LANGUAGE sql AS
    $$SELECT coalesce(nullif(current_setting('soak.change', true), ''), '0')::numeric$$;

CREATE FUNCTION note(more numeric) RETURNS void LANGUAGE sql AS
    $$SELECT set_config('soak.change', (soak.change() + more)::text, true)$$;

-- The last act of a transaction: numbers are given in the order of commits, without gaps.
CREATE FUNCTION enter(what text, OUT n bigint, OUT checksum numeric) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(1);
    INSERT INTO soak.ledger AS l
        SELECT last.n + 1, last.checksum + soak.change(), $1 FROM soak.ledger last ORDER BY last.n DESC LIMIT 1
        RETURNING l.n, l.checksum INTO n, checksum;
END $$;

CREATE FUNCTION inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM soak.note((SELECT coalesce(sum(hashtextextended(TG_TABLE_NAME || r::text, 0)), 0) FROM came r));
    RETURN NULL;
END $$;

CREATE FUNCTION deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM soak.note(-(SELECT coalesce(sum(hashtextextended(TG_TABLE_NAME || r::text, 0)), 0) FROM went r));
    RETURN NULL;
END $$;

CREATE FUNCTION updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM soak.note((SELECT coalesce(sum(hashtextextended(TG_TABLE_NAME || r::text, 0)), 0) FROM came r)
        - (SELECT coalesce(sum(hashtextextended(TG_TABLE_NAME || r::text, 0)), 0) FROM went r));
    RETURN NULL;
END $$;

CREATE FUNCTION emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM soak.note(-soak.total(TG_TABLE_NAME));
    RETURN NULL;
END $$;

CREATE FUNCTION watch(name name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER i AFTER INSERT ON soak.%I REFERENCING NEW TABLE AS came EXECUTE FUNCTION soak.inserted()', name);
    EXECUTE format('CREATE TRIGGER d AFTER DELETE ON soak.%I REFERENCING OLD TABLE AS went EXECUTE FUNCTION soak.deleted()', name);
    EXECUTE format('CREATE TRIGGER u AFTER UPDATE ON soak.%I REFERENCING OLD TABLE AS went NEW TABLE AS came EXECUTE FUNCTION soak.updated()', name);
    EXECUTE format('CREATE TRIGGER t BEFORE TRUNCATE ON soak.%I EXECUTE FUNCTION soak.emptied()', name);
END $$;

CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL, note text);
CREATE TABLE parents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
CREATE TABLE children (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parent bigint NOT NULL REFERENCES parents ON DELETE CASCADE,
    payload text
);
CREATE INDEX ON children (parent);
CREATE TABLE cache (key int PRIMARY KEY, value text);
CREATE TABLE files (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content oid NOT NULL, digest text NOT NULL);
CREATE TABLE past (id bigserial PRIMARY KEY, filler text);
CREATE MATERIALIZED VIEW busiest AS SELECT parent, count(*) FROM children GROUP BY parent;

SELECT watch(name) FROM unnest('{accounts, parents, children, cache, files, past}'::name[]) name;

BEGIN;
SELECT setseed(0.5);
INSERT INTO accounts SELECT n, 1000, '' FROM generate_series(1, 1000) n;
INSERT INTO parents (name) SELECT md5(random()::text) FROM generate_series(1, 500);
INSERT INTO children (parent, payload) SELECT p, md5(random()::text) FROM generate_series(1, 500) p, generate_series(1, 10);
INSERT INTO cache SELECT n, md5(random()::text) FROM generate_series(1, 500) n;
INSERT INTO past (filler) SELECT md5(random()::text) || md5(random()::text) FROM generate_series(1, 100000);
SELECT enter('filled');
COMMIT;
