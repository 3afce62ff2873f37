-- The nastiest database we know how to make: whatever a PostgreSQL from 13 to 18 lets a user create and a backup
-- may lose. Loaded with psql as superuser into an empty UTF-8 database; `nasty.py` makes the roles first and says
-- their names in the variables owner, reader, superuser and odd_role.
--
-- Left out: security labels (no provider comes with PostgreSQL), tablespaces (they lie outside the database), and
-- subscriptions (a database with one cannot be dropped).

SELECT current_database() AS dbname,
       current_setting('server_version_num')::integer >= 140000 AS pg14,
       current_setting('server_version_num')::integer >= 150000 AS pg15,
       current_setting('server_version_num')::integer >= 160000 AS pg16,
       current_setting('server_version_num')::integer >= 170000 AS pg17,
       current_setting('server_version_num')::integer >= 180000 AS pg18
\gset
SET client_min_messages = error;
SET datestyle = 'ISO, MDY';

-- ---- names -------------------------------------------------------------------------------------------------

CREATE SCHEMA names;
CREATE SCHEMA "pg catalog";
CREATE SCHEMA "Names";
CREATE SCHEMA "with ""quotes"" and 'apostrophes'";
CREATE SCHEMA "--help";
CREATE SCHEMA "a.b";
CREATE SCHEMA " ";
CREATE SCHEMA empty;

CREATE TABLE "pg catalog".pg_class (relname text);
INSERT INTO "pg catalog".pg_class VALUES ('not the real one');
CREATE TABLE "Names".thing (lower integer);
CREATE TABLE "Names"."Thing" ("Mixed" integer);
CREATE TABLE "Names"."THING" ("MIXED" integer);
INSERT INTO "Names".thing VALUES (1);
INSERT INTO "Names"."Thing" VALUES (2);
INSERT INTO "Names"."THING" VALUES (3);
CREATE TABLE "with ""quotes"" and 'apostrophes'"."it's a ""table""" ("col""umn" text, "col'umn" text);
INSERT INTO "with ""quotes"" and 'apostrophes'"."it's a ""table""" VALUES ('"', '''');
CREATE TABLE "--help"."--version" ("-c" text, "--" text DEFAULT '--');
INSERT INTO "--help"."--version" VALUES ('-- no comment', '/* nor this */');
CREATE TABLE "a.b"."c.d" ("e.f" integer);
CREATE TABLE "a.b"."c" ("d.e.f" integer);
INSERT INTO "a.b"."c.d" VALUES (1);
INSERT INTO "a.b"."c" VALUES (2);
CREATE TABLE " "." " (" " integer, "  " integer);
INSERT INTO " "." " VALUES (1, 2);
CREATE TABLE names."\copy" ("\." text, "\N" text, "\" text);
INSERT INTO names."\copy" VALUES ('\.', '\N', '\'), (NULL, NULL, NULL);
CREATE TABLE names.U&"two\000alines" (U&"one\000atwo\000d\000athree" text, U&"tab\0009bed" text);
INSERT INTO names.U&"two\000alines" VALUES (E'one\ntwo', E'tab\tbed');
CREATE TABLE names."%s %d %% %n" ("{}" text, "%(name)s" text, "{0!r}" text, "$1" text, "?" text, ":name" text);
INSERT INTO names."%s %d %% %n" VALUES ('%s', '{}', '{0.__class__}', '$1', '?', ':name');
CREATE TABLE names."$(touch pwned)" ("`id`" text, "; DROP TABLE x; --" text, "|cat" text, "&" text, "*" text);
INSERT INTO names."$(touch pwned)" VALUES ('`id`', '; --', '|', '&', '*');
CREATE TABLE names."../../etc/passwd" ("/" text, "C:\NUL" text);
INSERT INTO names."../../etc/passwd" VALUES ('..', 'NUL');
CREATE TABLE names."🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘abc" ("🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘abc" serial PRIMARY KEY, "列" text UNIQUE);
INSERT INTO names."🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘abc" ("列") VALUES ('表'), ('ポ'), ('𝄞');
CREATE TABLE names.U&"caf\00e9" (composed integer);
CREATE TABLE names.U&"cafe\0301" (decomposed integer);
INSERT INTO names.U&"caf\00e9" VALUES (1);
INSERT INTO names.U&"cafe\0301" VALUES (2);
CREATE TABLE names.U&"\202eright to left\202c\200b\feff" (U&"\200b" text);
INSERT INTO names.U&"\202eright to left\202c\200b\feff" VALUES ('seen');
CREATE TABLE names."select" ("from" integer, "where" integer, "table" integer, "user" integer, "order" integer, "oid" integer,
                             "analyse" integer, "current_user" integer, "null" integer, "default" integer, "row" integer,
                             t integer, "t.*" integer);
INSERT INTO names."select" VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
CREATE TABLE names.integer ("text" "text");
CREATE TABLE names.t (t integer, row integer);
INSERT INTO names.t VALUES (1, 2);
CREATE TABLE names."01234567-89ab-cdef-0123-456789abcdef" ("1" integer);
INSERT INTO names."01234567-89ab-cdef-0123-456789abcdef" VALUES (1);
CREATE TABLE names."null" ("NULL" text);
INSERT INTO names."null" VALUES ('NULL'), (NULL), ('');
CREATE INDEX "index with ""quotes"", 🐘 and a
newline" ON names."select" ("from" DESC NULLS LAST, "order");
CREATE VIEW names."a view -- with 'a name'" ("col ""1""", "col
2") AS SELECT "from", "where" FROM names."select";
CREATE FUNCTION names."f(integer)"("in" integer, "out" text DEFAULT E'\'; -- \\ " $1') RETURNS text
    LANGUAGE sql AS 'SELECT "out" || "in"::text';

-- ---- columns and rows --------------------------------------------------------------------------------------

CREATE SCHEMA shapes;

CREATE TABLE shapes.no_columns ();
INSERT INTO shapes.no_columns SELECT FROM generate_series(1, 7);
CREATE TABLE shapes.no_columns_left (gone integer);
INSERT INTO shapes.no_columns_left VALUES (1), (2), (3);
ALTER TABLE shapes.no_columns_left DROP COLUMN gone;
CREATE TABLE shapes.no_rows (a integer, b text);
CREATE TABLE shapes.no_columns_no_rows ();

CREATE TABLE shapes.generated (
    a integer, b integer GENERATED ALWAYS AS (a * 2) STORED, c text,
    d text GENERATED ALWAYS AS (upper(c) || a::text) STORED
);
INSERT INTO shapes.generated (a, c) VALUES (1, 'x'), (NULL, 'y'), (3, NULL);
CREATE TABLE shapes.only_generated (a integer GENERATED ALWAYS AS (42) STORED, b text GENERATED ALWAYS AS ('b') STORED);
INSERT INTO shapes.only_generated DEFAULT VALUES;
INSERT INTO shapes.only_generated DEFAULT VALUES;
\if :pg18
CREATE TABLE shapes.virtual (a integer, b integer GENERATED ALWAYS AS (a * 3) VIRTUAL, c integer GENERATED ALWAYS AS (a) STORED);
INSERT INTO shapes.virtual (a) VALUES (1), (2), (NULL);
\endif

-- dropped columns, and columns whose old rows know nothing of them
CREATE TABLE shapes.changed (a integer, b text, c integer, d text);
INSERT INTO shapes.changed SELECT n, 'b' || n, n, 'd' FROM generate_series(1, 100) AS n;
ALTER TABLE shapes.changed DROP COLUMN b;
ALTER TABLE shapes.changed ADD COLUMN e text DEFAULT 'was not there', ADD COLUMN f timestamptz DEFAULT '2020-02-02 02:02:02+00';
ALTER TABLE shapes.changed ALTER COLUMN e SET DEFAULT 'is there';
INSERT INTO shapes.changed (a, c) SELECT n, n FROM generate_series(101, 110) AS n;
ALTER TABLE shapes.changed DROP COLUMN c, ADD COLUMN c bigint;

CREATE TABLE shapes.identity_always (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 1000 INCREMENT BY -7 MINVALUE -5000 MAXVALUE 1000 CACHE 3 CYCLE) PRIMARY KEY,
    note text
);
INSERT INTO shapes.identity_always (note) VALUES ('a'), ('b');
INSERT INTO shapes.identity_always OVERRIDING SYSTEM VALUE VALUES (5, 'by force');
CREATE TABLE shapes.identity_default (id smallint GENERATED BY DEFAULT AS IDENTITY, note text);
INSERT INTO shapes.identity_default (note) VALUES ('a'), ('b');
SELECT setval('shapes.identity_default_id_seq', 32767) \g /dev/null
CREATE TABLE shapes.identity_renamed (id integer GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME shapes."an odd sequence"));
INSERT INTO shapes.identity_renamed DEFAULT VALUES;
ALTER TABLE shapes.identity_renamed RENAME TO identity_called_otherwise;

CREATE TABLE shapes.serials (id serial, big bigserial, small smallserial, note text);
INSERT INTO shapes.serials (note) VALUES ('a'), ('b'), ('c');

CREATE TYPE shapes.template AS (a integer, b text);
CREATE TABLE shapes.typed OF shapes.template (PRIMARY KEY (a), b WITH OPTIONS DEFAULT 'typed' NOT NULL);
INSERT INTO shapes.typed (a) VALUES (1), (2);

CREATE UNLOGGED TABLE shapes.unlogged (a integer PRIMARY KEY, b text);
INSERT INTO shapes.unlogged SELECT n, repeat('u', n) FROM generate_series(1, 50) AS n;

SELECT format('CREATE TABLE shapes.wide (%s)', string_agg(format('"column %s" integer', n), ', ' ORDER BY n))
FROM generate_series(1, 1600) AS n \gexec
INSERT INTO shapes.wide ("column 1", "column 800", "column 1600") VALUES (1, 800, 1600), (NULL, NULL, NULL);
SELECT format('INSERT INTO shapes.wide VALUES (%s)', string_agg(n::text, ', ' ORDER BY n)) FROM generate_series(1, 1600) AS n \gexec

-- holes: dead rows, pages without any, empty pages at the end
CREATE TABLE shapes.holes (n integer, filler text) WITH (autovacuum_enabled = off);
INSERT INTO shapes.holes SELECT n, repeat(md5(n::text), 3) FROM generate_series(1, 20000) AS n;
DELETE FROM shapes.holes WHERE n BETWEEN 3000 AND 9000 OR n % 3 = 0 OR n > 17000;
UPDATE shapes.holes SET filler = 'moved' WHERE n % 50 = 1;
CREATE TABLE shapes.all_dead (n integer) WITH (autovacuum_enabled = off);
INSERT INTO shapes.all_dead SELECT generate_series(1, 1000);
DELETE FROM shapes.all_dead;

CREATE TABLE shapes.stored (
    plain text, external text, main text, extended bytea, tiny "char",
    filled integer
) WITH (fillfactor = 37, autovacuum_vacuum_scale_factor = 0.5, toast.autovacuum_enabled = off, parallel_workers = 0);
ALTER TABLE shapes.stored ALTER COLUMN plain SET STORAGE PLAIN, ALTER COLUMN external SET STORAGE EXTERNAL,
    ALTER COLUMN main SET STORAGE MAIN, ALTER COLUMN filled SET STATISTICS 0,
    ALTER COLUMN external SET STATISTICS 1234, ALTER COLUMN external SET (n_distinct = -0.5, n_distinct_inherited = 7);
\if :pg14
ALTER TABLE shapes.stored ALTER COLUMN main SET COMPRESSION pglz;
\endif
INSERT INTO shapes.stored
SELECT 'plain', repeat('external ', 3000), repeat('main', 4000), decode(repeat(md5(n::text), 5000), 'hex'), 'x', n
FROM generate_series(1, 3) AS n;

-- rows of megabytes, one that compresses and one that does not, in a line and with ten thousand line ends
CREATE TABLE shapes.large (id integer PRIMARY KEY, body text, bytes bytea);
INSERT INTO shapes.large SELECT 1, repeat('a rather long row ', 200000), NULL;
INSERT INTO shapes.large SELECT 2, NULL, string_agg(sha256(int4send(n)), NULL) FROM generate_series(1, 65536) AS n;
INSERT INTO shapes.large SELECT 3, string_agg(md5(n::text), E'\n'), '' FROM generate_series(1, 10000) AS n;

-- a table access method that is heap by another name
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD btree_too TYPE INDEX HANDLER bthandler;
COMMENT ON ACCESS METHOD heap_too IS 'heap, with another name';
CREATE TABLE shapes.other_heap (a integer, b text) USING heap_too;
INSERT INTO shapes.other_heap SELECT n, 'row ' || n FROM generate_series(1, 500) AS n;
CREATE MATERIALIZED VIEW shapes.other_heap_view USING heap_too AS SELECT a FROM shapes.other_heap WHERE a < 10;

-- ---- values ------------------------------------------------------------------------------------------------

CREATE SCHEMA "values";

CREATE TABLE "values".copied (id serial PRIMARY KEY, what text, v text);
INSERT INTO "values".copied (what, v) VALUES
    ('end of data', E'\\.'), ('null as text', E'\\N'), ('NULL', 'NULL'), ('empty', ''), ('null', NULL),
    ('backslash', E'\\'), ('backslashes', E'\\\\\\'), ('backslash n', E'\\n'), ('tab', E'\t'), ('tabs', E'\t\t\t'),
    ('newline', E'\n'), ('carriage return', E'\r'), ('both', E'\r\n'), ('other way', E'\n\r'),
    ('trailing backslash before line end', E'x\\\ny'), ('end of data in lines', E'a\n\\.\nb'),
    ('vertical tab', E'\x0b'), ('form feed', E'\f'), ('backspace', E'\b'), ('bell', E'\x07'), ('escape', E'\x1b[31mred'),
    ('delete', E'\x7f'), ('octal', E'\\101'), ('hex', E'\\x41'), ('spaces', '  x  '), ('quotes', $$'"'"`´$$),
    ('comma', 'a,"b",c'), ('byte order mark', U&'\feffx'), ('replacement', U&'\fffd'), ('no character', U&'\ffff\+10ffff'),
    ('line separator', U&'\2028\2029\0085'), ('combining', U&'e\0301 \0065\0301\0323'), ('Chinese', '漢字かなカナ한글'),
    ('emoji', '👩‍👩‍👧‍👦🏳️‍🌈🇵🇹'), ('right to left', 'שלום العربية'), ('surrogates', '𝒳𠮷'), ('psql', '\! touch pwned'),
    ('copy', '\copy t from program ''id'''), ('restrict', '\restrict x'), ('variables', ':name :''name'' :"name" $1 %s'),
    ('long', repeat('x', 100000)), ('dollars', '$$ $_$ $body$');
INSERT INTO "values".copied (what, v) SELECT 'U+' || to_hex(n), chr(n) FROM generate_series(1, 591) AS n;

-- rows that are nothing else: each line of their COPY is a trap
CREATE TABLE "values".end_of_data (v text);
INSERT INTO "values".end_of_data VALUES (E'\\.'), (E'\\.'), (''), (NULL), (E'\\'), (E'.'), (E'\n'), (E'\\.\n\\.\n');

CREATE TABLE "values".bytes (v bytea);
INSERT INTO "values".bytes SELECT decode(lpad(to_hex(n), 2, '0'), 'hex') FROM generate_series(0, 255) AS n;
INSERT INTO "values".bytes VALUES (''), (NULL), (E'\\\\x41'), ('\x00'), (E'a\\000b');

CREATE TABLE "values".numbers (
    i2 int2, i4 int4, i8 int8, n numeric, n_fixed numeric(30, 10), f4 float4, f8 float8, m money, o oid, x xid, c cid
);
INSERT INTO "values".numbers VALUES
    (-32768, -2147483648, -9223372036854775808, 'NaN', 0, 'NaN', 'NaN', '-92233720368547758.08', 0, '0', '0'),
    (32767, 2147483647, 9223372036854775807, 0, 99999999999999999999.9999999999, 'Infinity', 'Infinity',
     '92233720368547758.07', 4294967295, '4294967295', '4294967295'),
    (0, 0, 0, 0.000, -0.0000000001, '-Infinity', '-Infinity', '0', 1, '3', '1'),
    (NULL, NULL, NULL, 1e131071::numeric, NULL, '-0', '-0', NULL, NULL, NULL, NULL),
    (NULL, NULL, NULL, 1e-16383, NULL, '1e-45', '4.9406564584124654e-324', NULL, NULL, NULL, NULL),
    (NULL, NULL, NULL, -123456789012345678901234567890.12345678901234567890, NULL, '3.4028235e38', '1.7976931348623157e308',
     '1234.56', 2147483648, NULL, NULL),
    (NULL, NULL, NULL, 1.10, NULL, 0.1, 0.1, NULL, NULL, NULL, NULL),
    (NULL, NULL, NULL, 1.1000, NULL, 1.0 / 3, 1.0::float8 / 3, NULL, NULL, NULL, NULL),
    (NULL, NULL, NULL, NULL, NULL, 16777217, 9007199254740993, NULL, NULL, NULL, NULL);
\if :pg14
INSERT INTO "values".numbers (n) VALUES ('Infinity'), ('-Infinity');
\endif
\if :pg15
CREATE TABLE "values".scaled (thousands numeric(5, -3), small numeric(2, 5));
INSERT INTO "values".scaled VALUES (12345, 0.00012), (-99999499, NULL);
\endif

CREATE TABLE "values".times (d date, t time, ttz timetz, ts timestamp(3), tstz timestamptz, i interval, i_year interval year to month);
INSERT INTO "values".times VALUES
    ('infinity', '00:00', '00:00+15:59:59', 'infinity', 'infinity', '178000000 years', '1 year'),
    ('-infinity', '24:00', '24:00-15:59:59', '-infinity', '-infinity', '-178000000 years -11 mons', '-3 mons'),
    ('4713-01-01 BC', '23:59:59.999999', '12:00+05:45', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00+00 BC', '1 mon -1 day +00:00:00.000001', NULL),
    ('5874897-12-31', '00:00:00.000001', NULL, '294276-12-31 23:59:59.999', '294276-12-31 23:59:59.999999+00', '-00:00:00.000001', NULL),
    ('0001-12-31 BC', NULL, NULL, '1900-01-01', '1883-11-18 12:03:57+00', 'P1Y2M3DT4H5M6.789S', NULL),
    ('2000-02-29', NULL, NULL, NULL, '2025-03-30 01:00:00+00', '24 hours', NULL),
    ('0044-03-15 BC', NULL, NULL, NULL, '0044-03-15 12:00:00+00 BC', '1 day', NULL),
    ('2021-01-02', NULL, NULL, NULL, '1999-12-31 23:59:59.5-11', '-1 year 2 mons', NULL);
\if :pg17
INSERT INTO "values".times (i) VALUES ('infinity'), ('-infinity');
\endif

CREATE TABLE "values".documents (j json, b jsonb, x xml, p jsonpath);
INSERT INTO "values".documents VALUES
    ('{"a": 1, "a": 2,   "b":"\u0000 \ud83d\ude00"}', '{"b": [1, 2.50, 1e400, null, true], "a": {"\\": "\""}}',
     '<?xml version="1.0" encoding="UTF-8"?><a b="&lt;&amp;"><![CDATA[ ]]> ]]&gt;</a>', '$.a[*] ? (@ > 1).b'),
    (E'\n[\n\t1 ]\n', '"\\u0041\t\n"', 'a fragment, <b/> and <c/>', 'strict $."a b"'),
    ('null', 'null', '', '$'), (NULL, '{}', NULL, NULL), ('""', '""', '<!-- - --><a/>', NULL),
    ('1E+2', '1.10', NULL, 'lax $[last]');

CREATE TABLE "values".others (
    u uuid, b bit(5), vb varbit, inet inet, cidr cidr, m macaddr, m8 macaddr8, pt point, ln line, seg lseg, bx box, pa path, po polygon,
    ci circle, tv tsvector, tq tsquery, lsn pg_lsn, snap txid_snapshot, n name, c "char", ch char(5), vc varchar(3), bl boolean,
    cls regclass, typ regtype, prc regprocedure, rol regrole, nsp regnamespace, t tid, x8 xid8
);
INSERT INTO "values".others VALUES
    ('00000000-0000-0000-0000-000000000000', B'10101', B'', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
     '(1e300,-0)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,0),(0,1))', '<(0,0),Infinity>',
     $$'a\\b':1A 'c''d':2,3B ' ':4$$, $$'a' & !'b c':*A <-> 'd'$$, 'FFFFFFFF/FFFFFFFF', '10:20:10,14,15', E'na\\me', E'\\', 'ab', 'äöü', true,
     'names."select"', 'shapes.template', 'names."f(integer)"(integer, text)', 'dwbtest_owner', '"with ""quotes"" and ''apostrophes''"',
     '(4294967295,65535)', '18446744073709551615'),
    ('ffffffff-ffff-ffff-ffff-ffffffffffff', B'00000', B'1', '255.255.255.255', '::/0', NULL, NULL, '(NaN,Infinity)', NULL, NULL, NULL,
     '((0,0),(1,1))', NULL, NULL, '', '', '0/0', NULL, '', '', '     ', '', false, '0', '-', '0', '0', '0', '(0,0)', '0');
INSERT INTO "values".others DEFAULT VALUES;
INSERT INTO "values".others (c) SELECT chr(n)::"char" FROM generate_series(1, 127) AS n;
INSERT INTO "values".others (ch) VALUES (E'\t\n'), ('  x'), ('漢字');

CREATE TYPE "values".pair AS (name text, "the value" numeric);
CREATE TYPE "values".nested AS (p "values".pair, ps "values".pair[], r int4range);
CREATE TABLE "values".arrays (
    i integer[], t text[], bounds integer[], deep text[][], p "values".pair, ps "values".pair[], n "values".nested, ns "values".nested[],
    r int4range, tr tstzrange, nr numrange, rs int4range[], points point[], f float8[], bytes bytea[], j jsonb[]
);
INSERT INTO "values".arrays VALUES
    ('{1,NULL,3}', ARRAY['', NULL, 'NULL', 'null', '{}', '"', '\', E'\n', ',', ' '], '[-2:0]={1,2,3}', '{{a,b},{c,NULL}}',
     ('a "quoted", (name)', 'NaN'), ARRAY[('x', 1), (NULL, NULL), ('', 0)]::"values".pair[],
     ROW(ROW('in', 1), ARRAY[ROW(E'\\"', 2)]::"values".pair[], '[1,5)'), ARRAY[NULL, ROW(NULL, '{}', 'empty')]::"values".nested[],
     '(,)', '[-infinity,infinity]', '(NaN,)', '{"[1,2)",empty,NULL}', ARRAY[point '(1,2)', '(NaN,-0)'], '{NaN,-Infinity,-0,1e-320}',
     ARRAY['\x00'::bytea, '\x5c', ''], ARRAY['{"a": "\""}'::jsonb, 'null']),
    ('{}', '{}', '[5:5][0:1]={{1,2}}', '{}', NULL, '{}', NULL, '{}', 'empty', 'empty', NULL, '{}', '{}', '{}', '{}', '{}'),
    (NULL, NULL, NULL, NULL, ROW(NULL, NULL), NULL, ROW(NULL, NULL, NULL), NULL, '[2,2]', '[2020-01-01,)', '[1.10,1.1000]', NULL, NULL, NULL, NULL, NULL);
\if :pg14
CREATE TABLE "values".multiranges (m int4multirange, d datemultirange[]);
INSERT INTO "values".multiranges VALUES ('{}', '{}'), ('{[1,3), [5,)}', ARRAY['{[2020-01-01,infinity]}'::datemultirange]), (NULL, NULL);
\endif

-- ---- types -------------------------------------------------------------------------------------------------

CREATE SCHEMA types;

CREATE TYPE types.mood AS ENUM ('sad', 'it''s ok', 'happy');
ALTER TYPE types.mood ADD VALUE 'überglücklich' AFTER 'happy';
ALTER TYPE types.mood ADD VALUE 'before all' BEFORE 'sad';
ALTER TYPE types.mood ADD VALUE 'in between' BEFORE 'it''s ok';
ALTER TYPE types.mood RENAME VALUE 'sad' TO 'very sad';
CREATE TYPE types.nothing AS ENUM ();
CREATE TYPE types.empty AS ();
CREATE TYPE types.with_dropped AS (a integer, b text, c integer);
ALTER TYPE types.with_dropped DROP ATTRIBUTE b, ADD ATTRIBUTE d text COLLATE "C";
CREATE TYPE types.shell;
CREATE TYPE types.float_range AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = float8mi);
CREATE TYPE types.text_range AS RANGE (SUBTYPE = text, COLLATION = "C");
\if :pg14
CREATE TYPE types.named_range AS RANGE (SUBTYPE = date, MULTIRANGE_TYPE_NAME = types."several ranges");
CREATE TABLE types.in_named_range (r types.named_range, m types."several ranges");
INSERT INTO types.in_named_range VALUES ('[2020-01-01,2020-02-01)', '{[2020-01-01,2020-02-01)}');
\endif

CREATE TYPE types.base;
CREATE FUNCTION types.base_in(cstring) RETURNS types.base LANGUAGE internal STRICT IMMUTABLE AS 'int4in';
CREATE FUNCTION types.base_out(types.base) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'int4out';
CREATE TYPE types.base (INPUT = types.base_in, OUTPUT = types.base_out, LIKE = int4, CATEGORY = 'U', DEFAULT = '7', DELIMITER = ';');

CREATE FUNCTION types.is_even(integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 % 2 = 0; END';
CREATE DOMAIN types.even AS integer DEFAULT 2 CONSTRAINT "is it even?" CHECK (types.is_even(VALUE)) NOT NULL;
CREATE DOMAIN types.evens AS types.even[] CHECK (cardinality(VALUE) < 10);
CREATE DOMAIN types.over_domain AS types.even CHECK (VALUE < 1000);
CREATE DOMAIN types.of_pair AS "values".pair CHECK ((VALUE).name <> 'forbidden');
CREATE DOMAIN types.collated AS text COLLATE "C" CHECK (VALUE ~ '^[^\n]*$');
CREATE DOMAIN types.late AS integer;

CREATE TABLE types.used (
    id integer PRIMARY KEY, mood types.mood, moods types.mood[], dropped types.with_dropped, fr types.float_range, tr types.text_range,
    base types.base, bases types.base[], even types.even, evens types.evens, over_domain types.over_domain, pair types.of_pair,
    late types.late, nothing types.nothing, empty types.empty
);
INSERT INTO types.used VALUES
    (1, 'before all', '{happy,"it''s ok","in between"}', (1, 2, 'three'), '[-0,Infinity)', '["",z)', '1', '{1;2;3}', 4, '{2,4}', 6,
     ('allowed', 1), 13, NULL, ROW()),
    (2, 'überglücklich', '{}', NULL, 'empty', NULL, NULL, NULL, 2, NULL, 8, NULL, 14, NULL, NULL);
ALTER DOMAIN types.late ADD CONSTRAINT "comes late" CHECK (VALUE < 10) NOT VALID;

-- ---- inheritance and partitions ----------------------------------------------------------------------------

CREATE SCHEMA trees;

CREATE TABLE trees.parent (id integer NOT NULL, a text DEFAULT 'parent', b integer CHECK (b > 0), CHECK (id < 100000) NO INHERIT);
CREATE TABLE trees.other_parent (c text DEFAULT 'other', b integer DEFAULT 3);
CREATE TABLE trees.child (own text, a text DEFAULT 'child') INHERITS (trees.parent);
CREATE TABLE trees.grandchild (c text DEFAULT 'mine' NOT NULL) INHERITS (trees.child, trees.other_parent);
CREATE TABLE trees.late_child (b integer, own text, id integer NOT NULL, a text, CONSTRAINT parent_b_check CHECK (b > 0));
ALTER TABLE trees.late_child INHERIT trees.parent;
CREATE TABLE trees.left_home () INHERITS (trees.parent);
ALTER TABLE trees.left_home NO INHERIT trees.parent;
ALTER TABLE trees.child ALTER COLUMN b SET DEFAULT 99, ALTER COLUMN own SET NOT NULL;
ALTER TABLE trees.parent ADD COLUMN added text DEFAULT 'added to all';
INSERT INTO trees.parent VALUES (1, 'in parent', 1);
INSERT INTO trees.child VALUES (2, 'in child', 2, 'own');
INSERT INTO trees.grandchild VALUES (3, 'in grandchild', 3, 'own', 'added', 'c');
INSERT INTO trees.late_child VALUES (4, 'own', 4, 'in late child');
INSERT INTO trees.left_home VALUES (5);
INSERT INTO trees.other_parent VALUES ('in other parent');

CREATE TABLE trees.ranged (at date NOT NULL, n integer, note text DEFAULT 'root', PRIMARY KEY (at, n)) PARTITION BY RANGE (at, n);
CREATE TABLE trees.ranged_old PARTITION OF trees.ranged FOR VALUES FROM (MINVALUE, MINVALUE) TO ('2020-01-01', 0);
CREATE TABLE trees.ranged_2020 PARTITION OF trees.ranged (note DEFAULT '2020', CHECK (n <> 13)) FOR VALUES FROM ('2020-01-01', 0) TO ('2021-01-01', MINVALUE)
    PARTITION BY LIST (n);
CREATE TABLE trees."ranged_2020 one, two or null" PARTITION OF trees.ranged_2020 FOR VALUES IN (1, 2);
CREATE TABLE trees.ranged_2020_rest PARTITION OF trees.ranged_2020 DEFAULT PARTITION BY HASH (n);
CREATE TABLE trees.ranged_2020_rest_0 PARTITION OF trees.ranged_2020_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE UNLOGGED TABLE trees.ranged_2020_rest_1 PARTITION OF trees.ranged_2020_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE trees.ranged_default PARTITION OF trees.ranged DEFAULT;
-- attached later: other order of columns, a dropped one, an index of its own that becomes the parent's
CREATE TABLE trees.ranged_attached (note text, gone integer, n integer NOT NULL, at date NOT NULL);
ALTER TABLE trees.ranged_attached DROP COLUMN gone;
CREATE UNIQUE INDEX "attached's own" ON trees.ranged_attached (at, n);
INSERT INTO trees.ranged_attached VALUES ('attached', 7, '2021-06-01');
ALTER TABLE trees.ranged_attached ADD PRIMARY KEY USING INDEX "attached's own";
ALTER TABLE trees.ranged ATTACH PARTITION trees.ranged_attached FOR VALUES FROM ('2021-01-01', MINVALUE) TO ('2022-01-01', MAXVALUE);
CREATE TABLE trees.ranged_detached PARTITION OF trees.ranged FOR VALUES FROM ('2023-01-01', MINVALUE) TO ('2024-01-01', MINVALUE);
INSERT INTO trees.ranged
SELECT date '2019-06-01' + n, n % 40, 'row ' || n FROM generate_series(1, 1500) AS n WHERE n % 40 <> 13;
ALTER TABLE trees.ranged DETACH PARTITION trees.ranged_detached;
CREATE INDEX ranged_note ON trees.ranged (note);
CREATE INDEX ranged_invalid ON ONLY trees.ranged (n);
CREATE TABLE trees.refers_to_ranged (id integer PRIMARY KEY, at date, n integer, FOREIGN KEY (at, n) REFERENCES trees.ranged);
INSERT INTO trees.refers_to_ranged VALUES (1, '2021-06-01', 7), (2, NULL, NULL);

CREATE TABLE trees.listed (k text COLLATE "C", n integer) PARTITION BY LIST (lower(k));
CREATE TABLE trees.listed_null PARTITION OF trees.listed FOR VALUES IN (NULL);
CREATE TABLE trees.listed_odd PARTITION OF trees.listed FOR VALUES IN ('''', '\', '"', E'\n', 'null');
CREATE TABLE trees.listed_rest PARTITION OF trees.listed DEFAULT;
INSERT INTO trees.listed VALUES (NULL, 1), ('''', 2), ('NULL', 3), ('x', 4), (E'\n', 5);

-- Rows are spread by the hash of an enum's OIDs, which are others after a restore: a row's partition changes.
CREATE TABLE trees.hashed_enum (mood types.mood, n integer) PARTITION BY HASH (mood);
CREATE TABLE trees.hashed_enum_0 PARTITION OF trees.hashed_enum FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE trees.hashed_enum_1 PARTITION OF trees.hashed_enum FOR VALUES WITH (MODULUS 3, REMAINDER 1) PARTITION BY LIST (n);
CREATE TABLE trees.hashed_enum_1_default PARTITION OF trees.hashed_enum_1 DEFAULT;
CREATE TABLE trees.hashed_enum_2 PARTITION OF trees.hashed_enum FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO trees.hashed_enum SELECT (enum_range(NULL::types.mood))[1 + n % 6], n FROM generate_series(1, 60) AS n;

CREATE TABLE trees.childless (a integer, b integer) PARTITION BY RANGE (a);
CREATE TABLE trees.half_foreign (a integer, b text) PARTITION BY RANGE (a);
CREATE TABLE trees.own_half PARTITION OF trees.half_foreign FOR VALUES FROM (10) TO (20);
INSERT INTO trees.half_foreign VALUES (11, 'ours');

-- ---- sequences ---------------------------------------------------------------------------------------------

CREATE SCHEMA sequences;

CREATE SEQUENCE sequences.untouched;
CREATE SEQUENCE sequences.first_called;
SELECT nextval('sequences.first_called') \g /dev/null
CREATE SEQUENCE sequences.set_not_called;
SELECT setval('sequences.set_not_called', 41, false) \g /dev/null
CREATE SEQUENCE sequences.descending INCREMENT -3 MAXVALUE -1 MINVALUE -1000 START -10 CYCLE;
SELECT nextval('sequences.descending') FROM generate_series(1, 4) \g /dev/null
CREATE SEQUENCE sequences.exhausted AS smallint MAXVALUE 3;
SELECT nextval('sequences.exhausted') FROM generate_series(1, 3) \g /dev/null
CREATE SEQUENCE sequences.limits MINVALUE -9223372036854775808 MAXVALUE 9223372036854775807 START 9223372036854775807 CACHE 100;
SELECT setval('sequences.limits', -9223372036854775808) \g /dev/null
CREATE SEQUENCE sequences."Odd 'name' ""here"" \ 🐘";
SELECT setval('sequences."Odd ''name'' ""here"" \ 🐘"', 17) \g /dev/null
CREATE SEQUENCE sequences.shared;
CREATE TABLE sequences.shares (a integer DEFAULT nextval('sequences.shared'), b integer DEFAULT nextval('sequences.shared') * 10);
ALTER SEQUENCE sequences.shared OWNED BY sequences.shares.b;
INSERT INTO sequences.shares DEFAULT VALUES;
CREATE TABLE sequences.uses_others (a integer DEFAULT nextval('sequences.shared'));
\if :pg15
CREATE UNLOGGED SEQUENCE sequences.unlogged;
SELECT setval('sequences.unlogged', 5) \g /dev/null
\endif

-- ---- constraints, indexes, statistics ----------------------------------------------------------------------

CREATE SCHEMA extensions;
CREATE SCHEMA "extensions, odd";
CREATE EXTENSION btree_gist SCHEMA extensions;
CREATE EXTENSION pg_trgm SCHEMA "extensions, odd";
CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION citext SCHEMA public;
CREATE EXTENSION ltree SCHEMA "extensions, odd";
CREATE EXTENSION "uuid-ossp" SCHEMA extensions;
CREATE EXTENSION pgcrypto SCHEMA extensions;
CREATE EXTENSION postgres_fdw SCHEMA extensions;
CREATE EXTENSION file_fdw SCHEMA extensions;

CREATE SCHEMA constraints;

CREATE TABLE constraints.chicken (id integer PRIMARY KEY, egg integer NOT NULL);
CREATE TABLE constraints.egg (id integer PRIMARY KEY, chicken integer NOT NULL REFERENCES constraints.chicken DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE constraints.chicken ADD CONSTRAINT "what came first?" FOREIGN KEY (egg) REFERENCES constraints.egg
    ON UPDATE CASCADE ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO constraints.chicken SELECT n, 101 - n FROM generate_series(1, 100) AS n;
INSERT INTO constraints.egg SELECT n, 101 - n FROM generate_series(1, 100) AS n;
COMMIT;

CREATE TABLE constraints.tree (id integer PRIMARY KEY, parent integer REFERENCES constraints.tree, name text);
INSERT INTO constraints.tree SELECT n, nullif(n, 200) + 1 FROM generate_series(1, 200) AS n;  -- every row refers to a later one

CREATE TABLE constraints.not_valid (id integer, positive integer, refers integer);
INSERT INTO constraints.not_valid VALUES (1, -1, 4711);
ALTER TABLE constraints.not_valid ADD CONSTRAINT positive CHECK (positive > 0) NOT VALID,
    ADD CONSTRAINT refers FOREIGN KEY (refers) REFERENCES constraints.tree NOT VALID;
\if :pg18
ALTER TABLE constraints.not_valid ADD CONSTRAINT "not null, later" NOT NULL id NOT VALID;
CREATE TABLE constraints.not_enforced (a integer CONSTRAINT never CHECK (a > 0) NOT ENFORCED, b integer REFERENCES constraints.tree NOT ENFORCED);
INSERT INTO constraints.not_enforced VALUES (-1, 4711);
CREATE TABLE constraints.booked (room integer, during daterange, PRIMARY KEY (room, during WITHOUT OVERLAPS));
CREATE TABLE constraints.guest (room integer, during daterange, FOREIGN KEY (room, PERIOD during) REFERENCES constraints.booked (room, PERIOD during));
INSERT INTO constraints.booked VALUES (1, '[2020-01-01,2020-02-01)'), (1, '[2020-02-01,2020-03-01)');
INSERT INTO constraints.guest VALUES (1, '[2020-01-15,2020-02-15)');
\endif

CREATE TABLE constraints.excluded (
    room integer, during tstzrange, name text,
    EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0) DEFERRABLE,
    CONSTRAINT "unique, deferred" UNIQUE (name) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT "with ""quotes""" CHECK (name <> '''' AND name !~ '\\' AND name NOT LIKE 'a\_b' ESCAPE '\')
);
INSERT INTO constraints.excluded VALUES (1, '[2020-01-01,2020-01-02)', 'a'), (1, '[2020-01-02,)', 'b'), (-1, '[2020-01-01,)', 'c');

CREATE TABLE constraints.keys (
    a integer, b integer, c text, d integer,
    PRIMARY KEY (b, a) INCLUDE (c), UNIQUE (c, d) WITH (fillfactor = 50), UNIQUE (d) INCLUDE (a)
);
INSERT INTO constraints.keys SELECT n, n % 10, 'c' || n, n FROM generate_series(1, 300) AS n;
\if :pg15
CREATE TABLE constraints.nulls_are_equal (a integer, b integer, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO constraints.nulls_are_equal VALUES (NULL, 1), (1, NULL), (NULL, NULL);
CREATE TABLE constraints.set_some_null (id integer PRIMARY KEY, a integer, b integer, FOREIGN KEY (a, b) REFERENCES constraints.keys (b, a)
    MATCH FULL ON DELETE SET NULL (a, b));
CREATE TABLE constraints.set_one_null (id integer PRIMARY KEY, a integer, b integer, FOREIGN KEY (a, b) REFERENCES constraints.keys (b, a)
    ON DELETE SET DEFAULT (b));
INSERT INTO constraints.set_some_null VALUES (1, 1, 1);
\endif

CREATE FUNCTION constraints.shout(text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$BEGIN RETURN upper($1) || '!'; END$$;
CREATE TABLE constraints.defaults (
    a text DEFAULT constraints.shout('it''s \ "a"') COLLATE "C", b timestamptz DEFAULT clock_timestamp() + '1 day', c uuid DEFAULT extensions.uuid_generate_v4(),
    d text[] DEFAULT ARRAY['x', NULL], e text DEFAULT E'\\N', f text DEFAULT '', g boolean DEFAULT NULL, h name DEFAULT SESSION_USER
);
INSERT INTO constraints.defaults DEFAULT VALUES;
CREATE TABLE constraints.indexed (
    id integer, a text, b integer[], c jsonb, d tsvector, e text COLLATE "C", f box, g extensions.hstore, h "extensions, odd".ltree, i citext, j inet
);
SET search_path = extensions, "extensions, odd", public, pg_catalog;
INSERT INTO constraints.indexed
SELECT n, 'text ' || n, ARRAY[n, n + 1], jsonb_build_object('n', n), to_tsvector('simple', 'word' || n), chr(64 + n),
       box(point(n, n), point(n + 1, n + 1)), hstore('key', n::text), text2ltree('top.n' || n), 'Case' || n, '10.0.0.0'::inet + n
FROM generate_series(1, 20) AS n;
CREATE INDEX ON constraints.indexed USING gin (b);
CREATE INDEX ON constraints.indexed USING gin (c jsonb_path_ops);
CREATE INDEX ON constraints.indexed USING gin (a gin_trgm_ops) WITH (fastupdate = off);
CREATE INDEX ON constraints.indexed USING gist (d, f, h);
CREATE INDEX ON constraints.indexed USING gist (a gist_trgm_ops (siglen = 32));
CREATE INDEX ON constraints.indexed USING hash (a) WITH (fillfactor = 60);
CREATE INDEX ON constraints.indexed USING brin (id, j inet_inclusion_ops) WITH (pages_per_range = 3, autosummarize = on);
CREATE INDEX ON constraints.indexed USING spgist (j);
CREATE INDEX ON constraints.indexed (id DESC);
RESET search_path;
CREATE UNIQUE INDEX "expressions, partial" ON constraints.indexed (constraints.shout(a), (c -> 'n'), lower(e) COLLATE "POSIX" text_pattern_ops DESC)
    INCLUDE (id) WHERE id > 3 AND a <> 'it''s \ "odd"';
ALTER INDEX constraints."expressions, partial" ALTER COLUMN 2 SET STATISTICS 500;
CREATE INDEX depends ON constraints.indexed (id);
ALTER INDEX constraints.depends DEPENDS ON EXTENSION hstore;
ALTER TABLE constraints.indexed CLUSTER ON indexed_id_idx;
-- as a CREATE INDEX CONCURRENTLY leaves it that failed; a dump goes without it
CREATE INDEX failed_to_build ON constraints.keys (b);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'constraints.failed_to_build'::regclass;

CREATE TABLE constraints.clustered (a integer PRIMARY KEY, b integer UNIQUE NOT NULL);
CLUSTER constraints.clustered USING clustered_b_key;
CREATE TABLE constraints.not_clustered_any_more (a integer PRIMARY KEY);
CLUSTER constraints.not_clustered_any_more USING not_clustered_any_more_pkey;
ALTER TABLE constraints.not_clustered_any_more SET WITHOUT CLUSTER;

CREATE TABLE constraints.identity_full (a integer);
ALTER TABLE constraints.identity_full REPLICA IDENTITY FULL;
CREATE TABLE constraints.identity_nothing (a integer PRIMARY KEY);
ALTER TABLE constraints.identity_nothing REPLICA IDENTITY NOTHING;
CREATE TABLE constraints.identity_index (a integer NOT NULL, b integer PRIMARY KEY);
CREATE UNIQUE INDEX "identity index" ON constraints.identity_index (a);
ALTER TABLE constraints.identity_index REPLICA IDENTITY USING INDEX "identity index";

CREATE STATISTICS constraints."all kinds" ON a, b, d FROM constraints.keys;
CREATE STATISTICS constraints.dependent (dependencies, mcv) ON a, b FROM constraints.keys;
ALTER STATISTICS constraints.dependent SET STATISTICS 77;
\if :pg14
CREATE STATISTICS constraints.of_expressions ON (a % 7), (b * 2), c FROM constraints.keys;
CREATE STATISTICS constraints.of_one_expression ON (lower(c)) FROM constraints.keys;
\endif

-- ---- functions, operators, casts, languages ----------------------------------------------------------------

CREATE SCHEMA code;

CREATE FUNCTION code.quoting(text DEFAULT E'\\ '' " $$') RETURNS text LANGUAGE plpgsql AS $_$
BEGIN  -- $$ $body$ $function$ ' " \ \\ %
    RETURN $$it's "$1"$$ || $body$ \n $body$ || E'\n\\';
END $_$;
CREATE FUNCTION code.carriage_returns() RETURNS integer LANGUAGE sql AS E'SELECT\r\n  1\r\n-- \\.\r\n';
CREATE FUNCTION code.arguments(IN a integer, INOUT "b c" text, OUT d numeric(10, 2), VARIADIC rest text[] DEFAULT '{}') LANGUAGE sql
    STABLE STRICT LEAKPROOF PARALLEL RESTRICTED COST 12.5 SECURITY DEFINER
    SET search_path = code, "with ""quotes"" and 'apostrophes'", pg_temp SET work_mem = '7MB' SET datestyle = 'SQL, DMY' SET "my.setting" = 'it''s'
    AS 'SELECT "b c", a::numeric';
CREATE FUNCTION code.returns_table(n integer) RETURNS TABLE ("the id" integer, "select" text) LANGUAGE sql ROWS 17 AS 'SELECT n, $1::text';
CREATE FUNCTION code.returns_rows() RETURNS SETOF shapes.typed LANGUAGE sql AS 'SELECT * FROM shapes.typed';
CREATE FUNCTION code.polymorphic(anyelement, anyarray) RETURNS anyelement LANGUAGE sql AS 'SELECT $2[1]';
CREATE FUNCTION code.overloaded(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION code.overloaded(text) RETURNS integer LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION code.overloaded(integer, VARIADIC integer[]) RETURNS integer LANGUAGE sql AS 'SELECT 3';
CREATE FUNCTION code.broken() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT x FROM code.there_is_no_such_table); END';
SET check_function_bodies = off;
CREATE FUNCTION code.refers_to_nothing() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM code.neither_is_this';
RESET check_function_bodies;
CREATE FUNCTION code.nth(anyelement, integer) RETURNS anyelement LANGUAGE internal WINDOW IMMUTABLE STRICT AS 'window_nth_value';
CREATE PROCEDURE code.procedure(IN a integer, INOUT b text) LANGUAGE plpgsql AS $$BEGIN b := a || b; COMMIT; END$$;
CREATE PROCEDURE code.procedure() LANGUAGE sql SECURITY DEFINER AS '';
\if :pg14
CREATE FUNCTION code.standard_body(a integer, b text DEFAULT 'x;y') RETURNS text LANGUAGE sql
    BEGIN ATOMIC
        SELECT 'ignored; END' AS ignored;
        SELECT string_agg(c || b, ';' ORDER BY keys.d) FROM constraints.keys WHERE keys.a < standard_body.a;
    END;
CREATE FUNCTION code.standard_return(x integer) RETURNS integer LANGUAGE sql RETURN x + 1;
CREATE FUNCTION code.needs_primary_key() RETURNS SETOF text LANGUAGE sql
    BEGIN ATOMIC SELECT name FROM constraints.tree GROUP BY id; END;
CREATE PROCEDURE code.out_procedure(IN a integer, OUT b integer) LANGUAGE sql BEGIN ATOMIC SELECT a + 1; END;
\endif

CREATE FUNCTION code.same_length(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length($1) = length($2)';
CREATE FUNCTION code.other_length(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length($1) <> length($2)';
CREATE OPERATOR code.=#= (FUNCTION = code.same_length, LEFTARG = text, RIGHTARG = text, COMMUTATOR = OPERATOR(code.=#=), NEGATOR = OPERATOR(code.<#>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR code.<#> (FUNCTION = code.other_length, LEFTARG = text, RIGHTARG = text, COMMUTATOR = OPERATOR(code.<#>), NEGATOR = OPERATOR(code.=#=));
CREATE OPERATOR code.@#@ (FUNCTION = length, RIGHTARG = text);

CREATE OPERATOR FAMILY code."int family" USING btree;
CREATE OPERATOR CLASS code.backwards FOR TYPE integer USING btree FAMILY code."int family" AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(integer, integer);
ALTER OPERATOR FAMILY code."int family" USING btree ADD OPERATOR 1 < (bigint, integer), FUNCTION 1 (bigint, integer) btint84cmp(bigint, integer);
CREATE OPERATOR FAMILY code.lonely USING hash;
CREATE TABLE code.sorted_backwards (a integer);
INSERT INTO code.sorted_backwards SELECT generate_series(1, 10);
CREATE INDEX ON code.sorted_backwards (a code.backwards);

CREATE AGGREGATE code.product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1', PARALLEL = SAFE, COMBINEFUNC = numeric_mul);
CREATE AGGREGATE code.moving(float8) (SFUNC = float8pl, STYPE = float8, MSFUNC = float8pl, MINVFUNC = float8mi, MSTYPE = float8, MINITCOND = '0',
    SORTOP = OPERATOR(pg_catalog.<));
CREATE AGGREGATE code.ordered(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA, FINALFUNC_MODIFY = READ_WRITE);
CREATE FUNCTION code.several_step(text, a integer, VARIADIC b text[]) RETURNS text LANGUAGE sql AS 'SELECT $1 || a || array_to_string(b, '','')';
CREATE AGGREGATE code.several(a integer, VARIADIC b text[]) (SFUNC = code.several_step, STYPE = text, INITCOND = ''';');

CREATE FUNCTION code.mood_number(types.mood) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS
    $$BEGIN RETURN array_position(enum_range(NULL::types.mood), $1); END$$;
CREATE CAST (types.mood AS integer) WITH FUNCTION code.mood_number(types.mood) AS ASSIGNMENT;
CREATE CAST (types.mood AS text) WITH INOUT AS IMPLICIT;
CREATE CAST (types.base AS integer) WITHOUT FUNCTION;
CREATE TRANSFORM FOR integer LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
CREATE FUNCTION code.pl_too_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION code.pl_too_inline(internal) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION code.pl_too_validate(oid) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE pl_too HANDLER code.pl_too_call INLINE code.pl_too_inline VALIDATOR code.pl_too_validate;
CREATE FUNCTION code.in_other_language() RETURNS integer LANGUAGE pl_too AS 'BEGIN RETURN 1; END';
CREATE CONVERSION code.conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE COLLATION code.ignore_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
CREATE COLLATION code.german (PROVIDER = icu, LOCALE = 'de-u-co-phonebk');
CREATE COLLATION code.plain (LC_COLLATE = 'C', LC_CTYPE = 'C');
CREATE COLLATION code."copied ""C""" FROM "C";
\if :pg16
CREATE COLLATION code.with_rules (PROVIDER = icu, LOCALE = 'und', RULES = '&V << w <<< W');
\endif
\if :pg17
CREATE COLLATION code.builtin (PROVIDER = builtin, LOCALE = 'C.UTF-8');
\endif
CREATE TABLE code.collated (a text COLLATE code.ignore_case UNIQUE, b text COLLATE code.german, c text COLLATE code."copied ""C""");
INSERT INTO code.collated VALUES ('Ärger', 'Zebra', 'b'), ('zebra', 'ärger', 'A');
CREATE INDEX ON code.collated (b COLLATE code.ignore_case, c);

CREATE TEXT SEARCH TEMPLATE code.ts_template (LEXIZE = dsimple_lexize, INIT = dsimple_init);
CREATE TEXT SEARCH DICTIONARY code.ts_dictionary (TEMPLATE = code.ts_template, ACCEPT = 'false');
CREATE TEXT SEARCH DICTIONARY code."stem, it's" (TEMPLATE = snowball, LANGUAGE = 'german', STOPWORDS = 'german');
CREATE TEXT SEARCH PARSER code.ts_parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH CONFIGURATION code.ts_configuration (PARSER = code.ts_parser);
ALTER TEXT SEARCH CONFIGURATION code.ts_configuration ADD MAPPING FOR asciiword, word WITH code.ts_dictionary, code."stem, it's", simple;
CREATE TEXT SEARCH CONFIGURATION code.ts_copy (COPY = pg_catalog.english);
CREATE INDEX ON names."%s %d %% %n" USING gin (to_tsvector('code.ts_copy', "{}"));

-- ---- triggers and rules ------------------------------------------------------------------------------------

CREATE SCHEMA reactions;

-- Each leaves a row behind: a restore that lets one fire is found out.
CREATE TABLE reactions.trace (at serial, what text, who text);
CREATE FUNCTION reactions.trace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reactions.trace (what, who) VALUES (TG_NAME || ' ' || TG_OP, array_to_string(TG_ARGV, '|'));
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TABLE reactions.watched (id integer PRIMARY KEY, v text);
CREATE TRIGGER "every row" BEFORE INSERT OR UPDATE OF v OR DELETE ON reactions.watched FOR EACH ROW
    EXECUTE FUNCTION reactions.trace('it''s', E'back\\slash', 'new
line', '', '"', '%s', '$1');
CREATE TRIGGER conditional AFTER UPDATE ON reactions.watched FOR EACH ROW
    WHEN (OLD.v IS DISTINCT FROM NEW.v AND NEW.v <> 'it''s') EXECUTE FUNCTION reactions.trace();
CREATE TRIGGER per_statement AFTER INSERT OR TRUNCATE ON reactions.watched EXECUTE FUNCTION reactions.trace();
CREATE TRIGGER transition AFTER UPDATE ON reactions.watched REFERENCING OLD TABLE AS "old rows" NEW TABLE AS "new rows"
    FOR EACH STATEMENT EXECUTE FUNCTION reactions.trace();
CREATE TRIGGER disabled BEFORE INSERT ON reactions.watched FOR EACH ROW EXECUTE FUNCTION reactions.trace();
ALTER TABLE reactions.watched DISABLE TRIGGER disabled;
CREATE TRIGGER on_replica BEFORE INSERT ON reactions.watched FOR EACH ROW EXECUTE FUNCTION reactions.trace();
ALTER TABLE reactions.watched ENABLE REPLICA TRIGGER on_replica;
CREATE TRIGGER always BEFORE INSERT ON reactions.watched FOR EACH ROW EXECUTE FUNCTION reactions.trace();
ALTER TABLE reactions.watched ENABLE ALWAYS TRIGGER always;
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR UPDATE ON reactions.watched FROM constraints.tree DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION reactions.trace();
INSERT INTO reactions.watched VALUES (1, 'one'), (2, 'two');
UPDATE reactions.watched SET v = 'three' WHERE id = 2;

CREATE FUNCTION reactions.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'nobody may write here any more'; END$$;
CREATE TABLE reactions.read_only (a integer);
INSERT INTO reactions.read_only VALUES (1), (2);
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON reactions.read_only EXECUTE FUNCTION reactions.refuse();
ALTER TABLE reactions.read_only ENABLE ALWAYS TRIGGER refuse;

CREATE TRIGGER on_root AFTER INSERT ON trees.ranged FOR EACH ROW EXECUTE FUNCTION reactions.trace();
ALTER TABLE trees.ranged_old DISABLE TRIGGER on_root;
CREATE TRIGGER on_partition BEFORE INSERT ON trees.ranged_default FOR EACH ROW EXECUTE FUNCTION reactions.trace();

CREATE TABLE reactions.ruled (a integer, b text);
INSERT INTO reactions.ruled VALUES (1, 'one');
CREATE RULE "also, trace" AS ON INSERT TO reactions.ruled WHERE NEW.a > 10
    DO ALSO (INSERT INTO reactions.trace (what) VALUES ('rule; ' || NEW.b); DELETE FROM reactions.trace WHERE what = ';');
CREATE RULE notify AS ON INSERT TO reactions.ruled DO ALSO NOTIFY "ruled, it's";
CREATE RULE nothing AS ON DELETE TO reactions.ruled DO INSTEAD NOTHING;
CREATE RULE disabled AS ON UPDATE TO reactions.ruled DO INSTEAD NOTHING;
ALTER TABLE reactions.ruled DISABLE RULE disabled;
ALTER TABLE reactions.ruled ENABLE ALWAYS RULE nothing;

-- ---- views -------------------------------------------------------------------------------------------------

CREATE SCHEMA views;

CREATE VIEW views.simple AS SELECT id, v FROM reactions.watched WHERE id > 0;
CREATE VIEW views.checked WITH (security_barrier) AS SELECT * FROM views.simple WHERE id < 100 WITH CASCADED CHECK OPTION;
CREATE VIEW views.checked_here AS SELECT * FROM views.simple WHERE id < 50 WITH LOCAL CHECK OPTION;
ALTER VIEW views.simple ALTER COLUMN v SET DEFAULT 'view''s default';
CREATE RECURSIVE VIEW views.recursive (n, path) AS
    VALUES (1, ARRAY[1]) UNION ALL SELECT n + 1, path || n + 1 FROM recursive WHERE n < 5;
CREATE VIEW views.renamed ("a b", "c""d", "select") AS SELECT id, v, id + 1 FROM reactions.watched;
CREATE VIEW views.joined AS
    SELECT * FROM (constraints.chicken AS x (id, other) JOIN constraints.egg USING (id)) AS "both"
    LEFT JOIN LATERAL (SELECT "both".id * 2 AS twice) AS l ON true;
CREATE VIEW views.whole_row AS SELECT w, w.id, (w).v AS again FROM reactions.watched AS w;
CREATE VIEW views.needs_primary_key AS SELECT id, name, count(*) FROM constraints.tree GROUP BY id;
CREATE VIEW views.upon_that AS SELECT * FROM views.needs_primary_key WHERE id < 10;
CREATE VIEW views.without_columns AS SELECT;
CREATE VIEW views.windowed AS
    SELECT a, rank() OVER w, lag(c, 1, 'it''s') OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS l,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY d) FILTER (WHERE d > 0) AS median
    FROM constraints.keys GROUP BY GROUPING SETS ((a, c), CUBE (a, c)) WINDOW w AS (PARTITION BY a % 2 ORDER BY c COLLATE "C" DESC NULLS FIRST);
CREATE VIEW views.literals AS
    SELECT E'\\'::text AS backslash, 'NaN'::float8 AS nan, '2020-01-01'::date AS d, '1 year 2 days'::interval AS i, B'101' AS bits,
           '-0'::float8 AS minus_zero, 1e-7::float8 AS small, U&'\feff' AS bom, '{"a": 1}'::jsonb AS j, ARRAY[]::text[] AS none, '\x00ff'::bytea AS b;
CREATE VIEW views.writable AS SELECT id, v FROM reactions.watched;
CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE ON views.writable FOR EACH ROW EXECUTE FUNCTION reactions.trace();
CREATE VIEW views.with_rule AS SELECT a FROM reactions.ruled;
CREATE RULE insert_here AS ON INSERT TO views.with_rule DO INSTEAD INSERT INTO reactions.ruled VALUES (NEW.a, 'by rule') RETURNING a;
\if :pg15
CREATE VIEW views.as_invoker WITH (security_invoker = true) AS SELECT 1 AS one;
\endif
\if :pg16
CREATE VIEW views.json AS SELECT JSON_ARRAYAGG(id ORDER BY id NULL ON NULL RETURNING jsonb) AS ids, JSON_OBJECT('a' VALUE 1 WITH UNIQUE KEYS) AS o FROM constraints.tree;
\endif

-- two views that need each other: such a pair can be made, though never read
CREATE VIEW views.circle_a AS SELECT NULL::integer AS n;
CREATE VIEW views.circle_b AS SELECT n FROM views.circle_a;
CREATE OR REPLACE VIEW views.circle_a AS SELECT n FROM views.circle_b;
-- a view and a function that need each other
CREATE VIEW views.by_function AS SELECT 1 AS n;
CREATE FUNCTION views.reads_view() RETURNS SETOF views.by_function LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT * FROM views.by_function; END';
CREATE OR REPLACE VIEW views.by_function AS SELECT 1 AS n WHERE 0 = (SELECT count(*) FROM views.reads_view() WHERE false);

CREATE MATERIALIZED VIEW views.z_first WITH (fillfactor = 80) AS SELECT a % 10 AS k, count(*) AS n, sum(d) AS total FROM constraints.keys GROUP BY 1;
CREATE MATERIALIZED VIEW views.y_second AS SELECT k, n * 2 AS twice FROM views.z_first;
CREATE UNIQUE INDEX "unique, for concurrently" ON views.y_second (k);
CREATE VIEW views.x_between AS SELECT k, twice FROM views.y_second WHERE k <> 3;
CREATE MATERIALIZED VIEW views.a_third AS SELECT count(*) FROM views.x_between;
CREATE MATERIALIZED VIEW views.needs_primary_key_too AS SELECT id, name FROM constraints.tree GROUP BY id;
CREATE MATERIALIZED VIEW views.reads_function AS SELECT n FROM views.reads_view() AS n;
CREATE MATERIALIZED VIEW views.never_filled AS SELECT 1 AS n WITH NO DATA;
CREATE MATERIALIZED VIEW views.without_rows AS SELECT 1 AS n WHERE false;
-- filled, but its source was emptied since: no restore can fill it again
CREATE MATERIALIZED VIEW views.source_emptied AS SELECT 1 AS n;
CREATE MATERIALIZED VIEW views.orphan AS SELECT n FROM views.source_emptied;
REFRESH MATERIALIZED VIEW views.source_emptied WITH NO DATA;

-- ---- who may what ------------------------------------------------------------------------------------------

CREATE SCHEMA rights AUTHORIZATION :"odd_role";
ALTER SCHEMA shapes OWNER TO :"owner";
ALTER TABLE shapes.holes OWNER TO :"owner";
ALTER TABLE shapes.identity_always OWNER TO :"owner";
ALTER SEQUENCE sequences.untouched OWNER TO :"odd_role";
ALTER FUNCTION code.quoting(text) OWNER TO :"odd_role";
ALTER TYPE types.mood OWNER TO :"owner";
ALTER DOMAIN types.even OWNER TO :"owner";
ALTER MATERIALIZED VIEW views.y_second OWNER TO :"reader";
ALTER VIEW views.simple OWNER TO :"odd_role";
ALTER AGGREGATE code.product(numeric) OWNER TO :"owner";
ALTER OPERATOR code.=#= (text, text) OWNER TO :"owner";
ALTER COLLATION code.german OWNER TO :"owner";
ALTER TEXT SEARCH DICTIONARY code.ts_dictionary OWNER TO :"owner";
ALTER STATISTICS constraints.dependent OWNER TO :"owner";
GRANT SELECT ON views.z_first TO :"reader";

GRANT USAGE ON SCHEMA rights, shapes, "with ""quotes"" and 'apostrophes'" TO :"reader";
GRANT USAGE, CREATE ON SCHEMA names TO :"odd_role" WITH GRANT OPTION;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"reader", :"owner";
COMMENT ON SCHEMA public IS E'not the standard comment;\n-- it''s "ours"\\';

SET ROLE :"odd_role";
CREATE TABLE rights.owned (id integer GENERATED ALWAYS AS IDENTITY, secret text, open text);
INSERT INTO rights.owned (secret, open) VALUES ('s', 'o');
GRANT SELECT ON rights.owned TO :"owner" WITH GRANT OPTION;
GRANT INSERT (open), UPDATE (open, secret), SELECT (id) ON rights.owned TO :"reader" WITH GRANT OPTION;
GRANT ALL ON rights.owned TO PUBLIC;
REVOKE DELETE, TRUNCATE ON rights.owned FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE :"odd_role" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
RESET ROLE;
GRANT USAGE ON SCHEMA rights TO :"owner";
SET ROLE :"owner";
GRANT SELECT ON rights.owned TO :"reader";
RESET ROLE;
CREATE TABLE rights.owner_lost_all (a integer);
ALTER TABLE rights.owner_lost_all OWNER TO :"owner";
REVOKE ALL ON rights.owner_lost_all FROM :"owner";
CREATE TABLE rights.nobody (a integer);
REVOKE ALL ON rights.nobody FROM CURRENT_USER;

GRANT USAGE, UPDATE ON SEQUENCE sequences.untouched TO :"reader";
REVOKE EXECUTE ON FUNCTION code.quoting(text), code.broken() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION code.quoting(text) TO :"reader" WITH GRANT OPTION;
GRANT EXECUTE ON PROCEDURE code.procedure(integer, text) TO :"odd_role";
REVOKE USAGE ON TYPE types.mood, types.base FROM PUBLIC;
GRANT USAGE ON TYPE types.mood TO :"reader";
GRANT USAGE ON DOMAIN types.even TO :"odd_role";
REVOKE USAGE ON LANGUAGE pl_too FROM PUBLIC;
GRANT USAGE ON LANGUAGE pl_too TO :"reader";
GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO :"reader";  -- rights on the system's own objects
REVOKE SELECT ON pg_roles FROM PUBLIC;
GRANT SELECT (rolname), SELECT (oid) ON pg_authid TO :"reader";
REVOKE EXECUTE ON FUNCTION extensions.uuid_generate_v4() FROM PUBLIC;  -- and on an extension's
GRANT EXECUTE ON FUNCTION extensions.uuid_generate_v4() TO :"reader";

ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO :"reader";
ALTER DEFAULT PRIVILEGES IN SCHEMA rights GRANT ALL ON SEQUENCES TO :"odd_role" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA shapes GRANT EXECUTE ON FUNCTIONS TO :"reader";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT USAGE ON SCHEMAS TO :"reader";

CREATE TABLE rights.secured (id integer, who text DEFAULT current_user, v text);
INSERT INTO rights.secured VALUES (1, 'dwbtest_owner', 'a'), (2, 'dwbtest_reader', 'b'), (3, 'postgres', 'c');
ALTER TABLE rights.secured OWNER TO :"owner";
ALTER TABLE rights.secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;  -- even its owner sees nothing but by policy
CREATE POLICY "own rows" ON rights.secured USING (who = current_user) WITH CHECK (v <> 'it''s \');
CREATE POLICY restrict ON rights.secured AS RESTRICTIVE FOR SELECT TO :"reader", :"odd_role" USING (EXISTS (SELECT FROM constraints.tree WHERE tree.id = secured.id));
CREATE POLICY inserts ON rights.secured FOR INSERT TO :"owner" WITH CHECK (true);
CREATE TABLE rights.secured_without_policy (a integer);
INSERT INTO rights.secured_without_policy VALUES (1);
ALTER TABLE rights.secured_without_policy ENABLE ROW LEVEL SECURITY;
CREATE TABLE rights.policy_asleep (a integer);
CREATE POLICY asleep ON rights.policy_asleep FOR DELETE USING (false);

-- ---- large objects -----------------------------------------------------------------------------------------

CREATE TABLE shapes.files (name text, content oid);
SELECT lo_from_bytea(4000000001, ''), lo_from_bytea(4000000002, decode(repeat('00ff5c0a0d2e', 40000), 'hex')), lo_from_bytea(4000000003, '\x5c2e0a'),
       lo_from_bytea(1234567, convert_to(repeat('ä', 2048), 'UTF8')) \g /dev/null
SELECT lo_put(4000000003, 1000000, '\xabcdef') \g /dev/null  -- a hole of a megabyte
INSERT INTO shapes.files VALUES ('empty', 4000000001), ('a', 4000000002), ('hole', 4000000003), ('dangling', 4242), ('none', NULL);
ALTER LARGE OBJECT 4000000002 OWNER TO :"owner";
ALTER LARGE OBJECT 1234567 OWNER TO :"odd_role";
GRANT SELECT ON LARGE OBJECT 4000000002 TO :"reader", PUBLIC;
GRANT UPDATE ON LARGE OBJECT 4000000002 TO :"odd_role" WITH GRANT OPTION;
REVOKE ALL ON LARGE OBJECT 1234567 FROM :"odd_role";
COMMENT ON LARGE OBJECT 4000000002 IS 'it''s "large"';

-- ---- elsewhere ---------------------------------------------------------------------------------------------

CREATE SCHEMA elsewhere;
CREATE FOREIGN DATA WRAPPER "no handler" OPTIONS (debug 'it''s true');
CREATE SERVER "a server, it's" TYPE 'type' VERSION '1.0''' FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '127.0.0.1', port '1', dbname 'it''s "nowhere" \', fetch_size '7');
CREATE USER MAPPING FOR PUBLIC SERVER "a server, it's" OPTIONS (user 'somebody');
CREATE USER MAPPING FOR :"odd_role" SERVER "a server, it's" OPTIONS (user 'it''s me', password 'secret \ ''"');
CREATE FOREIGN TABLE elsewhere."foreign" (
    id integer OPTIONS (column_name 'the "id"') NOT NULL, v text DEFAULT 'x' COLLATE "C", CHECK (id > 0)
) SERVER "a server, it's" OPTIONS (schema_name 'their''s', table_name 'table');
CREATE FOREIGN TABLE trees.other_half PARTITION OF trees.half_foreign FOR VALUES FROM (1) TO (10) SERVER "a server, it's";
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE elsewhere.missing_file (line text) SERVER files OPTIONS (filename '/there/is no/such ''file');
CREATE FOREIGN TABLE elsewhere.foreign_child () INHERITS (trees.other_parent) SERVER "a server, it's";
GRANT USAGE ON FOREIGN DATA WRAPPER "no handler" TO :"reader";
GRANT USAGE ON FOREIGN SERVER "a server, it's" TO :"odd_role" WITH GRANT OPTION;
ALTER SERVER files OWNER TO :"superuser";

CREATE EXTENSION dwebbackup_test_config;
INSERT INTO dwebbackup_config.setting VALUES ('mine', E'\\.\n\\N'), ('another', NULL);
INSERT INTO dwebbackup_config.whole (id, refers) VALUES (1, 3), (2, NULL), (3, 2);
CREATE TABLE dwebbackup_config.not_of_the_extension (a integer REFERENCES dwebbackup_config.whole);
INSERT INTO dwebbackup_config.not_of_the_extension VALUES (3);

CREATE PUBLICATION "of all, it's" FOR ALL TABLES WITH (publish = 'insert, truncate');
CREATE PUBLICATION of_none;
CREATE PUBLICATION of_tables FOR TABLE trees.ranged, ONLY trees.parent, "Names"."Thing" WITH (publish_via_partition_root = true);
ALTER PUBLICATION of_tables OWNER TO :"superuser";
\if :pg15
CREATE PUBLICATION of_some FOR TABLE constraints.keys (a, b) WHERE (a > 3 AND b <> 7), constraints.identity_full WHERE (a IS DISTINCT FROM 3);
CREATE PUBLICATION of_schemas FOR TABLES IN SCHEMA constraints, "with ""quotes"" and 'apostrophes'", TABLE shapes.typed;
\endif
\if :pg18
CREATE PUBLICATION of_generated FOR TABLE shapes.generated WITH (publish_generated_columns = stored);
\endif

-- ---- comments ----------------------------------------------------------------------------------------------

SELECT E'it''s a "comment"\n-- with lines, \\\\ backslashes, $$, %s, :words and 🐘\n\\. \\restrict' AS words
\gset
COMMENT ON TABLE names."select" IS :'words';
COMMENT ON COLUMN names."select"."from" IS :'words';
COMMENT ON COLUMN "--help"."--version"."--" IS '--';
COMMENT ON TABLE names."\copy" IS '\copy';
COMMENT ON INDEX constraints."expressions, partial" IS :'words';
COMMENT ON CONSTRAINT "what came first?" ON constraints.chicken IS :'words';
COMMENT ON CONSTRAINT positive ON constraints.not_valid IS 'not valid';
COMMENT ON CONSTRAINT "is it even?" ON DOMAIN types.even IS :'words';
COMMENT ON DOMAIN types.even IS :'words';
COMMENT ON TYPE types.mood IS :'words';
COMMENT ON TYPE "values".pair IS 'a type';
COMMENT ON COLUMN "values".pair."the value" IS 'a column of a type';
COMMENT ON TYPE types.base IS 'a base type';
COMMENT ON TYPE types.float_range IS 'a range';
COMMENT ON VIEW views.renamed IS :'words';
COMMENT ON COLUMN views.renamed."c""d" IS 'a view''s column';
COMMENT ON MATERIALIZED VIEW views.z_first IS :'words';
COMMENT ON COLUMN views.z_first.k IS 'a materialized view''s column';
COMMENT ON SEQUENCE sequences."Odd 'name' ""here"" \ 🐘" IS :'words';
COMMENT ON FUNCTION code.arguments(integer, text, text[]) IS :'words';
COMMENT ON PROCEDURE code.procedure() IS 'a procedure';
COMMENT ON AGGREGATE code.product(numeric) IS 'an aggregate';
COMMENT ON AGGREGATE code.ordered(float8 ORDER BY anyelement) IS 'an ordered-set aggregate';
COMMENT ON OPERATOR code.=#= (text, text) IS 'an operator';
COMMENT ON OPERATOR code.@#@ (NONE, text) IS 'a prefix operator';
COMMENT ON OPERATOR CLASS code.backwards USING btree IS 'an operator class';
COMMENT ON OPERATOR FAMILY code."int family" USING btree IS 'an operator family';
COMMENT ON CAST (types.mood AS integer) IS 'a cast';
COMMENT ON TRANSFORM FOR integer LANGUAGE sql IS 'a transform';
COMMENT ON LANGUAGE pl_too IS 'a language';
COMMENT ON CONVERSION code.conversion IS 'a conversion';
COMMENT ON COLLATION code.ignore_case IS 'a collation';
COMMENT ON TEXT SEARCH PARSER code.ts_parser IS 'a parser';
COMMENT ON TEXT SEARCH TEMPLATE code.ts_template IS 'a template';
COMMENT ON TEXT SEARCH DICTIONARY code.ts_dictionary IS 'a dictionary';
COMMENT ON TEXT SEARCH CONFIGURATION code.ts_configuration IS 'a configuration';
COMMENT ON TRIGGER "every row" ON reactions.watched IS :'words';
COMMENT ON RULE "also, trace" ON reactions.ruled IS 'a rule';
COMMENT ON POLICY "own rows" ON rights.secured IS 'a policy';
COMMENT ON STATISTICS constraints."all kinds" IS 'statistics';
COMMENT ON EXTENSION hstore IS 'not the comment that the extension brings';
COMMENT ON FOREIGN DATA WRAPPER "no handler" IS 'a wrapper';
COMMENT ON SERVER "a server, it's" IS :'words';
COMMENT ON FOREIGN TABLE elsewhere."foreign" IS 'a foreign table';
COMMENT ON PUBLICATION of_none IS 'a publication';
COMMENT ON SCHEMA "with ""quotes"" and 'apostrophes'" IS :'words';
COMMENT ON TABLE trees.ranged_2020 IS 'a partition';

-- ---- the database itself -----------------------------------------------------------------------------------

-- Whoever does not set its search path calls these.
CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not the real set_config'; END$$;
CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not the real current_setting'; END$$;
CREATE FUNCTION public.pg_export_snapshot() RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not the real pg_export_snapshot'; END$$;
CREATE FUNCTION public.quote_ident(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not the real quote_ident'; END$$;
CREATE FUNCTION public.same_name(name, name) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not the real ='; END$$;
CREATE OPERATOR public.= (FUNCTION = public.same_name, LEFTARG = name, RIGHTARG = name);
CREATE VIEW public.pg_class AS SELECT 0::oid AS oid, 'not the real one'::name AS relname;
CREATE TABLE public.pg_namespace (oid oid, nspname name);

COMMENT ON DATABASE :"dbname" IS :'words';
ALTER DATABASE :"dbname" OWNER TO :"owner";
ALTER DATABASE :"dbname" CONNECTION LIMIT 50;
REVOKE ALL ON DATABASE :"dbname" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"dbname" TO :"reader";
GRANT CREATE, TEMPORARY ON DATABASE :"dbname" TO :"odd_role" WITH GRANT OPTION;

-- What sessions begin with here. Each of these changes what careless SQL does or prints.
ALTER DATABASE :"dbname" SET search_path = "with ""quotes"" and 'apostrophes'", public, pg_catalog;
ALTER DATABASE :"dbname" SET client_encoding = 'LATIN1';
ALTER DATABASE :"dbname" SET datestyle = 'SQL, DMY';
ALTER DATABASE :"dbname" SET intervalstyle = 'iso_8601';
ALTER DATABASE :"dbname" SET timezone = 'Asia/Kathmandu';
ALTER DATABASE :"dbname" SET bytea_output = 'escape';
ALTER DATABASE :"dbname" SET extra_float_digits = -5;
ALTER DATABASE :"dbname" SET xmloption = 'document';
ALTER DATABASE :"dbname" SET xmlbinary = 'hex';
ALTER DATABASE :"dbname" SET array_nulls = off;
ALTER DATABASE :"dbname" SET standard_conforming_strings = off;
ALTER DATABASE :"dbname" SET transform_null_equals = on;
ALTER DATABASE :"dbname" SET quote_all_identifiers = on;
ALTER DATABASE :"dbname" SET default_transaction_read_only = on;
ALTER DATABASE :"dbname" SET default_transaction_isolation = 'serializable';
ALTER DATABASE :"dbname" SET session_replication_role = 'replica';
ALTER DATABASE :"dbname" SET row_security = off;
ALTER DATABASE :"dbname" SET statement_timeout = '5s';
ALTER DATABASE :"dbname" SET lock_timeout = '1s';
ALTER DATABASE :"dbname" SET idle_in_transaction_session_timeout = '500ms';
\if :pg14
ALTER DATABASE :"dbname" SET idle_session_timeout = '20s';
\endif
\if :pg17
ALTER DATABASE :"dbname" SET transaction_timeout = '20s';
\endif
ALTER DATABASE :"dbname" SET my.own_setting = E'it''s \\ "odd", really';
ALTER ROLE :"reader" IN DATABASE :"dbname" SET work_mem = '5MB';
ALTER ROLE :"odd_role" IN DATABASE :"dbname" SET search_path = '$user', "a.b";

-- ---- and at last, what watches the rest --------------------------------------------------------------------

CREATE TABLE reactions.ddl (at serial, event text, tag text);
CREATE FUNCTION reactions.note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO reactions.ddl (event, tag) VALUES (TG_EVENT, TG_TAG); END$$;
CREATE FUNCTION reactions.refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'no % here', TG_TAG; END$$;
\if :pg17
CREATE FUNCTION reactions.on_login() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM 1; END$$;
CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION reactions.on_login();
ALTER EVENT TRIGGER on_login ENABLE ALWAYS;
\endif
CREATE EVENT TRIGGER "note, it's" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE INDEX', 'ALTER TABLE') EXECUTE FUNCTION reactions.note_ddl();
CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION reactions.note_ddl();
CREATE EVENT TRIGGER asleep ON table_rewrite EXECUTE FUNCTION reactions.refuse_ddl();
ALTER EVENT TRIGGER asleep DISABLE;
ALTER EVENT TRIGGER note_drop ENABLE ALWAYS;
CREATE TABLE reactions.made_with_note (a integer PRIMARY KEY);
DROP TABLE reactions.made_with_note;
CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'DROP TABLE', 'CREATE FUNCTION') EXECUTE FUNCTION reactions.refuse_ddl();
ALTER EVENT TRIGGER refuse ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER refuse IS 'an event trigger';
