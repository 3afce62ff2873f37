-- A lifelike database to try a backup on: a pin board that sells prints. About 50 MB, the same every time.
-- Needs nothing but PostgreSQL 13 or later, and an empty database.

SET client_min_messages = warning;
SET timezone = 'UTC';
SET work_mem = '64MB';
BEGIN;

-- ---- making things up: numbers and prose that depend only on a seed ---------------------------------------

CREATE FUNCTION pg_temp.pick(seed bigint, salt bigint, below integer) RETURNS integer
    LANGUAGE sql IMMUTABLE AS
    $$ SELECT ((hashint8extended(seed, salt) & 9007199254740991) % below)::integer $$;

-- Like `pick`, but small results are far more frequent, as with words, visitors and prices.
CREATE FUNCTION pg_temp.often_low(seed bigint, salt bigint, below integer) RETURNS integer
    LANGUAGE sql IMMUTABLE AS
    $$ SELECT floor(below * u * u * sqrt(u))::integer
       FROM (SELECT (hashint8extended(seed, salt) & 1048575) / 1048576.0::float8) AS of(u) $$;

CREATE FUNCTION pg_temp.prose(seed bigint, words integer) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    vocabulary CONSTANT text[] := string_to_array(
        'the a and of in with for on light to from is this was my old morning that at under near by it'
        ' garden window summer paper house blue linen stone river kitchen small made first after oak winter'
        ' green glass clay sea table found colour copper quiet street hand very roof dusk bread lamp study'
        ' coast village market harbour moss slate wool chair bench meadow ink sketch pattern tile iron birch'
        ' cedar marble velvet autumn frost lantern orchard bridge ferry tower archive atlas compass letter'
        ' notebook pencil poster print grain shadow mirror curtain cushion shelf ladder basket bottle kettle'
        ' spoon saffron thyme rosemary lemon plum quince almond walnut honey rye barley cellar attic balcony'
        ' courtyard cloister chapel station platform carriage signal lighthouse anchor canvas rope sail tide'
        ' estuary marsh heron swift sparrow fox hare badger fern ivy clover foxglove lavender magnolia willow'
        ' typography gradient silhouette perspective composition reflection symmetry texture exposure aperture'
        ' über café naïve façade jardin luz sombra piedra 海 山 森 光 зима окно',
        ' ');
    pool CONSTANT integer := cardinality(vocabulary);
    said text := '';
    word text;
    u float8;
    draw bigint := 0;  -- also says where sentences end, one in nine
BEGIN
    FOR place IN 1 .. words LOOP
        u := (hashint8extended(seed * 1000 + place, 7) & 65535) / 65536.0;
        word := vocabulary[1 + floor(pool * u * u)::integer];
        said := said || CASE WHEN draw % 9 = 0 THEN '. ' || upper(left(word, 1) COLLATE "C") || substr(word, 2)
                             ELSE ' ' || word END;
        draw := hashint8extended(seed * 1000 + place, 8);
    END LOOP;
    RETURN substr(said, 3) || '.';
END $$;

-- Bytes that no program can compress, as a photograph's.
CREATE FUNCTION pg_temp.noise(seed bigint, bytes integer) RETURNS bytea LANGUAGE sql IMMUTABLE AS
    $$ SELECT substring(string_agg(sha256(int8send(seed * 100000 + part)), NULL) FOR bytes)
       FROM generate_series(0, bytes / 32) AS part $$;

-- ---- who is there ------------------------------------------------------------------------------------------

CREATE SCHEMA board;
COMMENT ON SCHEMA board IS 'Members, their boards, and the pins on them';
CREATE SCHEMA shop;
COMMENT ON SCHEMA shop IS 'Prints of pins, ordered and paid';

CREATE TYPE board.visibility AS ENUM ('public', 'unlisted', 'private');
CREATE DOMAIN board.handle AS text CHECK (VALUE ~ '^[a-z][a-z0-9_]{2,29}$');

CREATE TABLE board.member (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    handle    board.handle NOT NULL UNIQUE,
    email     text NOT NULL UNIQUE,
    about     text NOT NULL DEFAULT '',
    settings  jsonb NOT NULL DEFAULT '{}',
    avatar    oid,
    joined    timestamptz NOT NULL,
    last_seen timestamptz
);
COMMENT ON COLUMN board.member.avatar IS 'A large object; most members never send one';

INSERT INTO board.member (handle, email, about, settings, joined, last_seen)
SELECT name, name || '@example.org', pg_temp.prose(n, 8 + pg_temp.pick(n, 1, 20)),
       jsonb_build_object('theme', (ARRAY['light', 'dark', 'system'])[1 + pg_temp.pick(n, 2, 3)],
                          'mails', jsonb_build_object('weekly', n % 3 = 0, 'replies', n % 5 <> 0),
                          'per_page', 20 * (1 + pg_temp.pick(n, 3, 5))),
       timestamptz '2021-03-01' + n * interval '6 hours',
       CASE WHEN n % 11 <> 0 THEN timestamptz '2025-06-30' - pg_temp.often_low(n, 4, 900) * interval '1 day' END
FROM generate_series(1, 5000) AS n,
     LATERAL (SELECT (ARRAY['anna', 'ben', 'chiara', 'deniz', 'emil', 'fatou', 'goran', 'hana', 'ines', 'jun'])
                     [1 + n % 10] || '_' || to_hex(n * 7919)) AS named(name);

-- ---- what they pin -----------------------------------------------------------------------------------------

CREATE TABLE board.board (
    id         bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    owner      bigint NOT NULL REFERENCES board.member,
    title      text NOT NULL,
    visibility board.visibility NOT NULL DEFAULT 'public',
    changed    timestamptz NOT NULL,
    UNIQUE (owner, title)
);

INSERT INTO board.board (owner, title, visibility, changed)
SELECT 1 + pg_temp.often_low(n, 11, 5000), pg_temp.prose(900000 + n, 3) || ' No. ' || n,
       (enum_range(NULL::board.visibility))[1 + pg_temp.often_low(n, 12, 3)],
       timestamptz '2022-01-01' + pg_temp.pick(n, 13, 1200) * interval '1 day'
FROM generate_series(1, 8000) AS n;

CREATE TABLE board.pin (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    board       bigint NOT NULL REFERENCES board.board ON DELETE CASCADE,
    title       text NOT NULL,
    description text,
    source_url  text NOT NULL,
    image       bytea NOT NULL CHECK (octet_length(image) = 32),
    width       integer NOT NULL,
    height      integer NOT NULL,
    aspect      numeric GENERATED ALWAYS AS (round(width::numeric / height, 4)) STORED,
    tags        text[] NOT NULL DEFAULT '{}',
    created     timestamptz NOT NULL
);
COMMENT ON TABLE board.pin IS 'One image on one board';
COMMENT ON COLUMN board.pin.image IS 'SHA-256 of the image, which lies elsewhere';

INSERT INTO board.pin (board, title, description, source_url, image, width, height, tags, created)
SELECT 1 + pg_temp.often_low(n, 21, 7999), pg_temp.prose(1000000 + n, 3 + pg_temp.pick(n, 22, 4)),
       CASE WHEN n % 4 <> 0 THEN pg_temp.prose(2000000 + n, 10 + pg_temp.often_low(n, 23, 60)) END,
       'https://images.example.org/' || to_char(n % 400, 'FM000') || '/' || md5(n::text) || '.jpg',
       sha256(int4send(n)), 400 + 16 * pg_temp.pick(n, 24, 200), 400 + 16 * pg_temp.pick(n, 25, 200),
       ARRAY(SELECT DISTINCT 'tag-' || pg_temp.often_low(n * 10 + k, 26, 600)
             FROM generate_series(1, n % 5) AS k ORDER BY 1),
       timestamptz '2022-01-01' + n * interval '29 minutes'
FROM generate_series(1, 32000) AS n;

CREATE TABLE board.liked (
    member bigint NOT NULL REFERENCES board.member ON DELETE CASCADE,
    pin    bigint NOT NULL REFERENCES board.pin ON DELETE CASCADE,
    at     date NOT NULL,
    PRIMARY KEY (pin, member)
);

INSERT INTO board.liked
SELECT DISTINCT ON (pin, member) member, pin, date '2022-01-01' + pg_temp.pick(n, 31, 1200)
FROM generate_series(1, 50000) AS n,
     LATERAL (SELECT 1 + pg_temp.pick(n, 32, 5000), 1 + pg_temp.often_low(n, 33, 31999)) AS drawn(member, pin)
ORDER BY pin, member, n;

CREATE TABLE board.remark (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pin     bigint NOT NULL REFERENCES board.pin ON DELETE CASCADE,
    author  bigint REFERENCES board.member ON DELETE SET NULL,
    answers bigint REFERENCES board.remark,
    body    text NOT NULL,
    at      timestamptz NOT NULL
);

INSERT INTO board.remark (pin, author, answers, body, at)
SELECT 1 + pg_temp.often_low(n, 41, 31999), nullif(pg_temp.pick(n, 42, 5000), 0),
       CASE WHEN n % 3 = 0 THEN n - 1 END, pg_temp.prose(3000000 + n, 4 + pg_temp.often_low(n, 43, 40)),
       timestamptz '2022-01-02' + n * interval '57 minutes'
FROM generate_series(1, 20000) AS n;

-- ---- what they do: one partition a half-year ---------------------------------------------------------------

CREATE TABLE board.event (
    at      timestamptz NOT NULL,
    member  bigint NOT NULL,
    kind    text NOT NULL,
    details jsonb NOT NULL
) PARTITION BY RANGE (at);
CREATE TABLE board.event_2024_1 PARTITION OF board.event FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE board.event_2024_2 PARTITION OF board.event FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
CREATE TABLE board.event_2025_1 PARTITION OF board.event FOR VALUES FROM ('2025-01-01') TO ('2025-07-01');

INSERT INTO board.event
SELECT timestamptz '2024-01-01' + n * interval '17 minutes 3.25 seconds', 1 + pg_temp.often_low(n, 51, 4999), kind,
       jsonb_build_object('agent', 'Browser/' || 100 + pg_temp.pick(n, 52, 30), 'ms', pg_temp.often_low(n, 53, 4000),
                          'session', md5((n / 9)::text))
       || CASE kind WHEN 'search' THEN jsonb_build_object('words', pg_temp.prose(4000000 + n, 3))
                    WHEN 'view' THEN jsonb_build_object('pin', 1 + pg_temp.often_low(n, 54, 31999))
                    ELSE '{}' END
FROM generate_series(1, 40000) AS n,
     LATERAL (SELECT (ARRAY['view', 'view', 'view', 'search', 'like', 'sign-in'])
                     [1 + pg_temp.pick(n, 55, 6)]) AS drawn(kind);

-- ---- what they buy -----------------------------------------------------------------------------------------

CREATE TABLE shop."order" (
    id      uuid PRIMARY KEY,
    invoice bigint UNIQUE,
    member  bigint NOT NULL REFERENCES board.member,
    status  text NOT NULL CHECK (status IN ('open', 'paid', 'sent', 'returned')),
    address jsonb NOT NULL,
    at      timestamptz NOT NULL
);
CREATE TABLE shop.order_line (
    "order"  uuid NOT NULL REFERENCES shop."order" ON DELETE CASCADE,
    line     smallint NOT NULL,
    pin      bigint NOT NULL REFERENCES board.pin,
    quantity integer NOT NULL CHECK (quantity > 0),
    price    numeric(10, 2) NOT NULL,
    PRIMARY KEY ("order", line)
);
CREATE SEQUENCE shop.invoice_number START 20220001 OWNED BY shop."order".invoice;

INSERT INTO shop."order"
SELECT md5('order ' || n)::uuid, CASE WHEN n % 8 <> 0 THEN nextval('shop.invoice_number') END,
       1 + pg_temp.often_low(n, 61, 4999),
       (ARRAY['sent', 'paid', 'returned', 'open'])[1 + pg_temp.often_low(n, 62, 4)],
       jsonb_build_object('street', rtrim(pg_temp.prose(5000000 + n, 2), '.'),
                          'number', 1 + pg_temp.often_low(n, 63, 200),
                          'city', (ARRAY['Porto', 'Łódź', 'Graz', 'Brno', 'Malmö', '京都'])[1 + pg_temp.pick(n, 64, 6)]),
       timestamptz '2022-02-01' + n * interval '2 hours 7 minutes'
FROM generate_series(1, 10000) AS n;

INSERT INTO shop.order_line
SELECT md5('order ' || n)::uuid, line, 1 + pg_temp.often_low(n * 10 + line, 71, 31999),
       1 + pg_temp.often_low(n * 10 + line, 72, 4), 9.90 + 5 * pg_temp.pick(n * 10 + line, 73, 9)
FROM generate_series(1, 10000) AS n, generate_series(1, 1 + n % 4) AS line;

SELECT setval('shop.invoice_number', 20250700) \g /dev/null

-- ---- what is made of it ------------------------------------------------------------------------------------

CREATE INDEX ON board.pin (board, created DESC);
CREATE INDEX ON board.pin USING gin (tags);
CREATE INDEX ON board.pin (lower(title));
CREATE INDEX ON board.remark (pin);
CREATE INDEX ON board.board (owner) WHERE visibility <> 'private';
CREATE INDEX ON board.event (member, at);
CREATE INDEX ON shop.order_line (pin);

CREATE FUNCTION board.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := now();
    RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON board.board FOR EACH ROW EXECUTE FUNCTION board.touch();

CREATE VIEW shop.turnover AS
    SELECT date_trunc('month', at) AS month, count(DISTINCT id) AS orders, sum(quantity * price) AS total
    FROM shop."order" JOIN shop.order_line ON "order" = id
    WHERE status <> 'returned'
    GROUP BY 1;

CREATE MATERIALIZED VIEW board.popular AS
    SELECT pin.id, pin.title, count(liked.member) AS likes
    FROM board.pin LEFT JOIN board.liked ON liked.pin = pin.id
    WHERE pin.id <= 20000
    GROUP BY pin.id;
CREATE UNIQUE INDEX ON board.popular (id);
COMMENT ON MATERIALIZED VIEW board.popular IS 'Refreshed every night';

UPDATE board.member SET avatar = lo_from_bytea((20000 + id)::oid, pg_temp.noise(id, 150000 + 10000 * id::integer))
WHERE id <= 3;

COMMIT;
ANALYZE;
